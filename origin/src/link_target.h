// What a symbolic link of a directory may say where the directory appears elsewhere. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::origin {

// The text that the link at `path` (relative to the root, '/'-separated) may have in a copy of the
// tree: as it is when it is a row of ".." that ends in the tree and then names only. However the
// names are links themselves, by the same rule they do not leave the tree either. Nothing for any
// other text: where that leads can only be found out by following it.
std::optional<std::string> PlainTarget(std::string_view path, std::string_view target);

// Of two paths in the tree, how the first, a link's, names the second; "" is the root.
std::string RelativeTarget(std::string_view path, std::string_view to);

// What an absolute path is below `root`, "" for the root itself; nothing when it is elsewhere.
std::optional<std::string_view> BelowRoot(std::string_view absolute, std::string_view root);

}  // namespace sluice::origin
