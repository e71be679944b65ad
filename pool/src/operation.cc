#include "operation.h"

#include <fmt/format.h>

namespace sluice::pool {

void Tell(Operation& operation, const Ending& ending, std::string_view worker) {
  if (operation.kind == Operation::Kind::kDrop) return;
  Result<PoolAnswer> answer = ending.answer;
  if (!answer && !worker.empty()) {
    answer = Fail(answer.error().Wrap(fmt::format("pool worker {}", worker)));
  }
  if (operation.kind == Operation::Kind::kGet) return operation.got(std::move(answer));
  operation.done(answer ? Ok() : Fail(answer.error()));
}

}  // namespace sluice::pool
