// libcurl's own initialisation.
#pragma once

namespace sluice::origin {

// Once per process, however often and from whatever thread it is called; whether it succeeded.
bool InitializeCurl();

}  // namespace sluice::origin
