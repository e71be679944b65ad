// The verbs of the command line, one file each. Each adds its subcommand to `app`; its exit status
// is stored in `exit_status` when it was called.
#pragma once

#include "sluice/core/result.h"

namespace CLI {
class App;
}

namespace sluice::cli {

inline constexpr int kOk = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;

void AddMount(CLI::App& app, int& exit_status);
void AddStatus(CLI::App& app, int& exit_status);
void AddUmount(CLI::App& app, int& exit_status);
void AddInject(CLI::App& app, int& exit_status);
void AddHolder(CLI::App& app, int& exit_status);  // hidden: the process behind a mount

// Prints "sluice: <message>" and the next step, and returns the exit status that fits.
int Report(const Error& error, const char* next_step);

}  // namespace sluice::cli
