// The links of an HTML page, in the order of the page. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::origin {

// The href of every <a>, with character references resolved. Comments, scripts and styles are
// passed over. Any text is HTML of some kind: there is no error.
std::vector<std::string> HtmlLinks(std::string_view html);

}  // namespace sluice::origin
