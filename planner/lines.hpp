// What a line of a Plan reads and writes: the one place where passes learn it. (check_plan has its own.)
#pragma once

#include "planner/plan.hpp"

namespace peri::planner {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

// send and barrier pass their operand on and write nothing; recv takes only dtype and shape from its operand.
inline bool writes_output(const CollectiveLine& line) {
  return line.op != Op::send && line.op != Op::barrier;
}
inline bool reads_input(const CollectiveLine& line) {
  return line.op != Op::recv;
}

// Calls f(PlanOperand&) for every window that `line` reads, const where the line is. The whole input of an
// InputCopyLine comes as an operand without a window, by value.
template <class LineT, class F>
void for_each_read(LineT& line, F f) {
  std::visit(
      Overloaded{[&](auto&) {},
                 [&](std::conditional_t<std::is_const_v<LineT>, const InputCopyLine, InputCopyLine>& copy) {
                   PlanOperand whole{copy.input, {}};
                   f(whole);
                 },
                 [&](std::conditional_t<std::is_const_v<LineT>, const KernelLine, KernelLine>& kernel) {
                   for (auto& operand : kernel.inputs) f(operand);
                 },
                 [&](std::conditional_t<std::is_const_v<LineT>, const CollectiveLine, CollectiveLine>& call) {
                   if (reads_input(call)) f(call.input);
                 },
                 [&](std::conditional_t<std::is_const_v<LineT>, const DeviceCopyLine, DeviceCopyLine>& copy) {
                   f(copy.from);
                 }},
      line);
}

// Calls f(BufferId) for every buffer that `line` writes.
template <class F>
void for_each_write(const Line& line, F f) {
  std::visit(Overloaded{[&](const auto&) {}, [&](const InputCopyLine& copy) { f(copy.buffer); },
                        [&](const KernelLine& kernel) {
                          for (const PlanOperand& operand : kernel.outputs) f(operand.buffer);
                        },
                        [&](const CollectiveLine& call) {
                          if (writes_output(call)) f(call.output.buffer);
                        },
                        [&](const DeviceCopyLine& copy) { f(copy.to.buffer); }},
             line);
}

// Calls f(BufferId&) for every buffer that `line` names.
template <class F>
void for_each_buffer(Line& line, F f) {
  std::visit(Overloaded{[&](AllocateLine& l) { f(l.buffer); },
                        [&](ReuseLine& l) {
                          f(l.buffer);
                          f(l.from);
                        },
                        [&](FreeLine& l) { f(l.buffer); },
                        [&](InputCopyLine& l) {
                          f(l.buffer);
                          f(l.input);
                        },
                        [&](KernelLine& l) {
                          for (PlanOperand& operand : l.inputs) f(operand.buffer);
                          for (PlanOperand& operand : l.outputs) f(operand.buffer);
                        },
                        [&](CollectiveLine& l) {
                          f(l.input.buffer);
                          f(l.output.buffer);
                        },
                        [&](DeviceCopyLine& l) {
                          f(l.from.buffer);
                          f(l.to.buffer);
                        }},
             line);
}

inline size_t at(BufferId id) {
  return static_cast<size_t>(id.index);
}

inline BufferId add_buffer(Plan& plan, BufferKind kind, const TensorType& type, Layout layout) {
  const BufferId id(static_cast<int32_t>(plan.buffers.size()));
  plan.buffers.push_back(
      {"v" + std::to_string(id.index), kind, type, std::move(layout), DefaultAllocator{}, -1});
  return id;
}

inline const Group* comm_group(const Buffer& buffer) {
  const CommBuffer* comm = std::get_if<CommBuffer>(&buffer.layout);
  return comm ? &comm->group : nullptr;
}

// All of a buffer, in order.
inline PlanOperand whole(const Plan& plan, BufferId id) {
  const TensorType& type = plan.buffer(id).type;
  return {id, {type.dtype, View::contiguous(type.shape)}};
}
inline bool is_whole(const Plan& plan, const PlanOperand& operand) {
  const View& view = operand.type.view;
  return view.offset == 0 && view.shape == plan.buffer(operand.buffer).type.shape && view.is_contiguous();
}

// Whether two operands are the same elements on every rank, so that a call needs only one of them. Windows on
// a part of a buffer may be shards, whose offsets are equal on this rank only; the plans of all ranks must
// agree.
inline bool same_everywhere(const Plan& plan, const PlanOperand& a, const PlanOperand& b) {
  const View& view = a.type.view;
  int64_t last = view.offset;
  for (int i = 0; i < view.shape.rank(); ++i) last += (view.shape[i] - 1) * view.strides[i];
  return a == b && view.offset == 0 && last == numel(plan.buffer(a.buffer).type.shape) - 1;
}

// Copies `from` to `to`: the kernel of op `contiguous`.
inline KernelLine copy_line(const PlanOperand& from, const PlanOperand& to, Origin origin) {
  return {{Op::contiguous, {}, {}}, {from}, {to}, std::move(origin)};
}

}  // namespace peri::planner
