// What all backends do alike with the steps of a recording (Backend::prepare): each becomes a call of the
// backend's own, a collective with an epilogue several, in order; an error names the step's line; marks stand
// between the steps.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "core/overloaded.hpp"
#include "kernels/backend.hpp"
#include "kernels/collectives/epilogue.hpp"
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
  auto add = [&](const ProgramStep& step) -> Status {
    prepared.calls.push_back(PERI_TRY(std::visit(prepare, step)));
    return {};
  };
  auto add_parts = [&](const CollectiveStep& step) -> Status {
    for (const ProgramStep& part : PERI_TRY(without_epilogue(step))) PERI_TRY(add(part));
    return {};
  };
  for (const ProgramStep& step : steps) {
    const auto* collective = std::get_if<CollectiveStep>(&step);
    const bool is_several = collective && !collective->spec.epilogue.empty();
    if (Status added = is_several ? add_parts(*collective) : add(step); !added) {
      Error error = std::move(added).error();
      if (!error.where.known()) error.where = origin_of(step);
      return std::unexpected(std::move(error));
    }
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
