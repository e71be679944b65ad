// One mistake of each kind, on purpose: `sanitizer-proof KIND` must fail where its sanitizer is on.
// `nothing` must not, so that a program that cannot start is no proof.
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <thread>

namespace {

// The compiler may not see through it, else it would drop or refuse the mistake.
template <typename T>
T Opaque(T value) {
  volatile T hidden = value;
  return hidden;
}

int UseAfterFree() {
  int* const freed = Opaque(new int(1));
  delete freed;
  return *Opaque(freed);
}

int Overflow() { return Opaque(std::numeric_limits<int>::max()) + Opaque(1); }

int Leak() {
  int* lost = Opaque(new int(1));
  const int value = *lost;
  lost = Opaque<int*>(nullptr);
  return value;
}

int Race() {
  int shared = 0;
  std::thread other([&shared] { ++shared; });
  ++shared;
  other.join();
  return shared;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view kind = argc == 2 ? argv[1] : "";
  if (kind == "use-after-free") {
    std::printf("%d\n", UseAfterFree());
  } else if (kind == "overflow") {
    std::printf("%d\n", Overflow());
  } else if (kind == "leak") {
    std::printf("%d\n", Leak());
  } else if (kind == "race") {
    std::printf("%d\n", Race());
  } else if (kind != "nothing") {
    std::fputs("usage: sanitizer-proof nothing|use-after-free|overflow|leak|race\n", stderr);
  }
  // Success for an unknown kind too: a misspelt one is no proof either.
  return EXIT_SUCCESS;
}
