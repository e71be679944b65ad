// How the sanitizers behave in every program built with one, however it is started: the first
// report ends the program with a failure. The variables ASAN_OPTIONS, UBSAN_OPTIONS and
// TSAN_OPTIONS go before these.

// The runtimes call these before main, and have empty ones of their own.
extern "C" {
const char* __asan_default_options() {
  return "halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1";
}
const char* __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }
const char* __tsan_default_options() { return "halt_on_error=1:second_deadlock_stack=1"; }
}
