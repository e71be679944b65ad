// Turns what a web server lists into objects: asks for each file's size and version, and walks
// index pages within bounds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sluice/ports/origin.h"

#include "index_page.h"
#include "object_names.h"
#include "origin_call.h"
#include "web_context.h"
#include "web_object.h"

namespace sluice::origin {

// One listing. Threads: that of List.
class WebLister {
 public:
  // `base` is the key of the directory whose files are listed; it ends with '/'.
  WebLister(HttpTransport& transport, WebContext& context, std::string base);

  // Follows index pages from the base down.
  Status Walk();
  // The files of the manifest at this path below the base.
  Status ReadManifest(const std::string& manifest);
  // One file of this (decoded) path below the base.
  Status AddFile(std::string path);

  // kNotFound or the like when all that there is had to be refused. Logs and counts refusals.
  Result<Listing> Take() &&;

 private:
  struct Refused {
    std::uint64_t count = 0;
    std::string example;
  };

  Result<IndexPage> Parse(const std::string& key, const Fetch::Reply& page) const;
  // Asks for what the entries do not tell yet, and takes them over.
  Status Describe(std::vector<IndexEntry> files);
  Status Probe(std::vector<std::string> paths);
  Status Add(std::string path, WebObject described);
  void Refuse(Refusal refusal, const std::string& path);
  // Whether the failure is of one object or page only, which is then left out.
  bool RefusedAlone(const Fetch::Reply& reply, const std::string& path);
  [[nodiscard]] std::string KeyOf(const std::string& path) const;

  HttpTransport& transport_;
  WebContext& context_;
  const std::string base_;
  const std::size_t at_once_;
  ObjectCollector objects_;
  std::uint64_t skipped_ = 0;
  std::map<Refusal, Refused> refused_;
};

}  // namespace sluice::origin
