// Which files were damaged while a cache used them. A whole file that was checked before is handed
// out for what it was then, so only such a one may have wrong bytes. Threads: any.
#pragma once

#include <filesystem>

namespace sluice::reading_model {

void NoteDamage(int file);
void NoteDamage(const std::filesystem::path& path);
bool IsDamaged(int file);
// The files below the directory, which is going to be used anew: their cache checks them first.
void ForgetDamageBelow(const std::filesystem::path& directory);

}  // namespace sluice::reading_model
