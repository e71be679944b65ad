#include "fuzz_listing.h"

#include <cstdlib>
#include <string_view>

#include "object_names.h"
#include "s3_xml.h"

// Any bytes as a server's answer: the process must survive, and no listing may hold a name that is
// no file path.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::origin;  // NOLINT(google-build-using-namespace): a function's scope
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)ParseS3Error(input);
  const auto page = ParseListPage(input);
  if (!page) return 0;
  std::vector<sluice::OriginObject> objects;
  for (const ListedKey& key : page->keys) {
    sluice::OriginObject object;
    object.path = key.key;
    objects.push_back(std::move(object));
  }
  const sluice::Listing listing = MakeListing(std::move(objects));
  for (const auto& object : listing.objects) {
    if (!IsFilePath(object.path)) std::abort();
  }
  if (listing.objects.size() + listing.skipped != page->keys.size()) std::abort();
  return 0;
}
