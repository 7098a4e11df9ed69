// What a line of a Plan reads, writes, gives and frees: the one place where passes, partitions, executors and
// reports learn it. Every kind of line has its arm here, so a new kind does not build without one.
// (check_plan, which trusts nothing of the planner's, has its own.)
#pragma once

#include <span>

#include "core/overloaded.hpp"
#include "planner/plan.hpp"

namespace peri::planner {

using peri::Overloaded;

// The windows are the line's own: they live as long as it does.
template <class Operand>
struct BasicEffects {
  std::span<Operand> reads;
  std::span<Operand> writes;
  // Buffers that get storage here: an allocation, storage taken over, the outputs of a fallback call.
  std::vector<BufferId> gives;
  // Buffers whose storage ends here or passes to another: that of a reused buffer after the line that first
  // writes its successor.
  std::vector<BufferId> frees;
};
using LineEffects = BasicEffects<const PlanOperand>;

namespace detail {

// T, const if Model is.
template <class Model, class T>
using Like = std::conditional_t<std::is_const_v<Model>, const T, T>;

template <class Operand>
struct EffectsOf {
  using Effects = BasicEffects<Operand>;
  template <class T>
  using Like = detail::Like<Operand, T>;

  Effects operator()(Like<AllocateLine>& line) const { return {.gives = {line.buffer}}; }
  Effects operator()(Like<ReuseLine>& line) const { return {.gives = {line.buffer}, .frees = {line.from}}; }
  Effects operator()(Like<FreeLine>& line) const { return {.frees = {line.buffer}}; }
  Effects operator()(Like<InputCopyLine>& line) const { return {one(line.from), one(line.to)}; }
  Effects operator()(Like<KernelLine>& line) const { return {line.inputs, line.outputs}; }
  Effects operator()(Like<CollectiveLine>& line) const {
    Effects effects{line.inputs, line.outputs};
    if (line.is_fallback())
      for (const PlanOperand& output : line.outputs) effects.gives.push_back(output.buffer);
    return effects;
  }
  Effects operator()(Like<DeviceCopyLine>& line) const { return {one(line.from), one(line.to)}; }

 private:
  static std::span<Operand> one(Operand& operand) { return {&operand, 1}; }
};

}  // namespace detail

inline LineEffects effects(const Line& line) {
  return std::visit(detail::EffectsOf<const PlanOperand>(), line);
}
// The same, for passes that change windows.
inline BasicEffects<PlanOperand> effects(Line& line) {
  return std::visit(detail::EffectsOf<PlanOperand>(), line);
}

// Calls f(PlanOperand&) for every window that `line` names, whether or not it is read or written.
template <class F>
void for_each_operand(Line& line, F f) {
  auto each = [&](std::vector<PlanOperand>& operands) {
    for (PlanOperand& operand : operands) f(operand);
  };
  auto both = [&](auto& l) {
    f(l.from);
    f(l.to);
  };
  std::visit(Overloaded{[](AllocateLine&) {}, [](ReuseLine&) {}, [](FreeLine&) {},
                        [&](InputCopyLine& l) { both(l); },
                        [&](KernelLine& l) {
                          each(l.inputs);
                          each(l.outputs);
                        },
                        [&](CollectiveLine& l) {
                          each(l.inputs);
                          each(l.outputs);
                        },
                        [&](DeviceCopyLine& l) { both(l); }},
             line);
}

// The user's line that asked for it; nullptr for storage.
template <class LineT>
auto* origin_of(LineT& line) {
  using Found = std::conditional_t<std::is_const_v<LineT>, const Origin*, Origin*>;
  return std::visit(Overloaded{[](const AllocateLine&) -> Found { return nullptr; },
                               [](const ReuseLine&) -> Found { return nullptr; },
                               [](const FreeLine&) -> Found { return nullptr; },
                               [](detail::Like<LineT, InputCopyLine>& l) -> Found { return &l.origin; },
                               [](detail::Like<LineT, KernelLine>& l) -> Found { return &l.origin; },
                               [](detail::Like<LineT, CollectiveLine>& l) -> Found { return &l.spec.origin; },
                               [](detail::Like<LineT, DeviceCopyLine>& l) -> Found { return &l.origin; }},
                    line);
}

inline BufferId add_buffer(Plan& plan, BufferKind kind, const TensorType& type, Group group = {}) {
  return plan.buffers.push_back({"v" + std::to_string(plan.buffers.size()), kind, type, std::move(group)});
}

// All of a buffer, in order: its first value.
inline PlanOperand whole(const Plan& plan, BufferId id) {
  const TensorType& type = plan.buffer(id).type;
  return {id, {type.dtype, View::contiguous(type.shape)}};
}
inline bool is_whole(const Plan& plan, const PlanOperand& operand) {
  const View& view = operand.type.view;
  return view.offset == Elements() && view.shape == plan.buffer(operand.buffer).type.shape &&
         view.is_contiguous();
}

// Whether two operands are the same elements on every rank, so that a call needs only one of them. Windows on
// a part of a buffer may be shards, whose offsets are equal on this rank only; the plans of all ranks must
// agree.
inline bool same_everywhere(const Plan& plan, const PlanOperand& a, const PlanOperand& b) {
  const View& view = a.type.view;
  int64_t last = view.offset.count();
  for (int i = 0; i < view.shape.rank(); ++i) last += (view.shape[i] - 1) * view.strides[i];
  return a == b && view.offset == Elements() && last == numel(plan.buffer(a.buffer).type.shape) - 1;
}

// Copies `from` to `to`: the kernel of op `contiguous`.
inline KernelLine copy_line(const PlanOperand& from, const PlanOperand& to, Origin origin) {
  return {{Op::contiguous, {}, {}}, {from}, {to}, std::move(origin)};
}

}  // namespace peri::planner
