// What all backends do alike with the steps of a recording (Backend::prepare): each becomes a call of the
// backend's own, in order; an error names the step's line; marks stand between the calls.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "core/overloaded.hpp"
#include "kernels/backend.hpp"
#include "kernels/step.hpp"

namespace peri::kernels {

template <class Call>
struct PreparedSteps {
  // Those that pass the marks included.
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<std::unique_ptr<Mark>> marks;
};

// A mark, and the call that passes it.
template <class Call>
using PreparedMark = std::pair<std::unique_ptr<Mark>, std::unique_ptr<Call>>;

// `prepare` has an overload for each kind of step, which gives its call; `prepare_mark()` a PreparedMark.
template <class Call, class Prepare, class PrepareMark>
Result<PreparedSteps<Call>> prepare_steps(std::span<const ProgramStep> steps, Marks marks, Prepare prepare,
                                          PrepareMark prepare_mark) {
  PreparedSteps<Call> prepared;
  auto add_mark = [&]() -> Status {
    if (marks == Marks::none) return {};
    PreparedMark<Call> mark = PERI_TRY(prepare_mark());
    prepared.marks.push_back(std::move(mark.first));
    prepared.calls.push_back(std::move(mark.second));
    return {};
  };
  PERI_TRY(add_mark());
  for (const ProgramStep& step : steps) {
    Result<std::unique_ptr<Call>> call = std::visit(prepare, step);
    if (!call) {
      Error error = std::move(call).error();
      if (!error.where.known()) error.where = origin_of(step);
      return std::unexpected(std::move(error));
    }
    prepared.calls.push_back(std::move(*call));
    PERI_TRY(add_mark());
  }
  return prepared;
}

// A recording is replayed without asking what lies where, so it cannot wait for the other memory.
inline Status check_recordable_copy(Place from, Place to) {
  if (from == to) return {};
  return fail(Code::Unsupported, "a copy between device and host memory cannot be captured");
}

}  // namespace peri::kernels
