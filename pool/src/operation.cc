#include "operation.h"

#include <fmt/format.h>

namespace sluice::pool {

void Tell(Operation& operation, const Ending& ending, std::string_view worker) {
  Result<PoolAnswer> answer = ending.answer;
  if (!answer && !worker.empty()) {
    answer = Fail(answer.error().Wrap(fmt::format("pool worker {}", worker)));
  }
  operation.done(std::move(answer));
}

}  // namespace sluice::pool
