// Graph -> Plan over virtual buffers: every value becomes a window on a buffer, views become windows, and
// what cannot share storage becomes a copy. Decides the rules of ownership: what a plan returns is its own,
// each output in a buffer of its own.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "planner/lines.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

// Whether the window reaches every element of a buffer of `elements` elements exactly once: then it can be
// returned as it is.
bool is_permutation(const View& view, int64_t elements) {
  std::vector<std::pair<int64_t, int64_t>> dims;  // (stride, size)
  for (int i = 0; i < view.shape.rank(); ++i)
    if (view.shape[i] != 1) dims.emplace_back(view.strides[i], view.shape[i]);
  std::ranges::sort(dims);
  int64_t expected = 1;
  for (auto [stride, size] : dims) {
    if (stride != expected) return false;
    expected *= size;
  }
  return view.offset == Elements() && expected == elements;
}

class Lowerer {
 public:
  Lowerer(const Graph& graph, Choices choices, const World& world)
      : graph_(graph), choices_(std::move(choices)), values_(graph.size()), sharded_(graph.size()) {
    plan_.world = world;
    plan_.capture = choices_.capture;
    plan_.decisions = std::move(choices_.decisions);
    plan_.buffers.reserve(graph.size());
    plan_.lines.reserve(static_cast<size_t>(graph.size()));
  }

  Result<Plan> run() {
    for (NodeId id : graph_.inputs()) plan_.inputs.push_back(source(id, BufferKind::input));
    for (NodeId id : graph_.constants()) plan_.constants.push_back(source(id, BufferKind::constant));
    for (NodeId id : graph_.topological_order()) PERI_TRY(lower(id));
    return_values();
    return std::move(plan_);
  }

 private:
  PlanOperand& value(NodeId id) { return values_[id]; }

  BufferId source(NodeId id, BufferKind kind) {
    const Node& node = graph_.node(id);
    const int index = static_cast<int>(node.attributes.get<"index">());
    const SymmetricAllocator* symmetric = std::get_if<SymmetricAllocator>(&node.allocator);
    const BufferId buffer = add_buffer(plan_, kind, node.type, symmetric ? symmetric->group : Group());
    Buffer& added = plan_.buffers.back();
    added.name = (kind == BufferKind::input ? "arg" : "const") + std::to_string(index);
    added.index = index;
    value(id) = whole(plan_, buffer);
    return buffer;
  }

  PlanOperand result(const TensorType& type, BufferKind kind = BufferKind::regular) {
    return whole(plan_, add_buffer(plan_, kind, type));
  }

  void emit(Line line) { plan_.lines.push_back({std::move(line), capture_}); }

  PlanOperand copied(const PlanOperand& from, Place place, const Origin& origin) {
    const PlanOperand to = result({from.type.dtype, from.type.view.shape, place});
    emit(copy_line(from, to, origin));
    return to;
  }

  Status lower(NodeId id) {
    const Node& node = graph_.node(id);
    const OpInfo& op = info(node.op);
    if (op.has(kSource)) return {};
    if (const std::optional<Group> group = node.attributes.find<"group">())
      if (group->index_of(plan_.world.rank) < 0)
        return fail(Code::InvalidArgument,
                    fmt::format("{}: {}", op.name, not_in_group(*group, plan_.world.rank)), node.origin,
                    "call it on the members of the group only");
    capture_ = choices_.captured[id];
    if (op.has(kView))
      lower_view(id);
    else if (op.family == Family::window)
      lower_window(id);
    else if (op.family == Family::result)
      value(id) =
          further_.at(node.operands[0])[static_cast<size_t>(node.attributes.as<Op::result>().index) - 1];
    else if (op.has(kCollective))
      lower_collective(id);
    else if (op.has(kPointwise))
      lower_pointwise(id);
    else if (op.has(kDeviceCopy))
      lower_device_copy(id);
    else if (node.op == Op::contiguous && value(node.operands[0]).type.view.is_contiguous())
      value(id) = value(node.operands[0]);
    else
      lower_kernel(id);
    follow_shards(id);
    return {};
  }

  // A shard lies at another offset on every rank, and so does every window on one.
  void follow_shards(NodeId id) {
    const Node& node = graph_.node(id);
    sharded_[id] = node.op == Op::shard || std::ranges::any_of(node.operands, [&](NodeId operand) {
                     return sharded_[operand] && value(operand).buffer == value(id).buffer;
                   });
    if (node.op == Op::shard) plan_.sharded.push_back(value(id).buffer);
  }

  void lower_view(NodeId id) {
    const Node& node = graph_.node(id);
    PlanOperand in = value(node.operands[0]);
    auto window = [&] {
      return view_of(node.op, node.attributes, in.type.view, node.type.shape, plan_.world.rank);
    };
    std::optional<View> view = window();
    if (!view) {
      in = copied(in, node.type.place, node.origin);
      view = window();
      PERI_CHECK(view, "every view op has a window on a contiguous operand");
    }
    in.type = {node.type.dtype, *view};
    value(id) = in;
  }

  // The base's next value: all of it copied, then the window overwritten. `write_in_place` leaves the copy
  // out where the old value is not read again. What the source reads of the base itself is copied before.
  void lower_window(NodeId id) {
    const Node& node = graph_.node(id);
    const PlanOperand base = value(node.operands[0]);
    const std::optional<View> window =
        window_of(graph_, node.operands[1], node.operands[0], plan_.world.rank);
    PERI_CHECK(window, "verified: the view has a window");
    PlanOperand source = value(node.operands[2]);
    if (source.buffer == base.buffer) source = copied(source, node.type.place, node.origin);
    value(id) = result(node.type);
    emit(copy_line(base, value(id), node.origin));
    ++value(id).version;
    emit(copy_line(source, {value(id).buffer, {node.type.dtype, *window}, value(id).version}, node.origin));
    if (sharded_[node.operands[1]]) plan_.sharded.push_back(value(id).buffer);
  }

  void lower_pointwise(NodeId id) {
    const Node& node = graph_.node(id);
    KernelLine line{{}, {}, {}, node.origin};
    FusedInstruction instruction{node.op, {}, node.type.dtype};
    std::vector<NodeId> read;  // by input of the call
    for (NodeId operand : node.operands) {
      PlanOperand in = value(operand);
      if (in.type.view.shape != node.type.shape) {
        const std::optional<View> expanded = view_of(Op::expand, {}, in.type.view, node.type.shape, 0);
        PERI_CHECK(expanded, "expand always has a window");
        in.type.view = *expanded;
      }
      size_t known = 0;
      while (known < read.size() && operand != read[known] && !same_everywhere(plan_, in, line.inputs[known]))
        ++known;
      instruction.operands.push_back(static_cast<int>(known));
      if (known == read.size()) {
        read.push_back(operand);
        line.spec.fused.operand_dtypes.push_back(in.type.dtype);
        line.inputs.push_back(in);
      }
    }
    line.spec.fused.instructions.push_back(std::move(instruction));
    line.spec.fused.results.push_back(static_cast<int>(line.inputs.size()));
    value(id) = result(node.type);
    line.outputs.push_back(value(id));
    emit(std::move(line));
  }

  void lower_kernel(NodeId id) {
    const Node& node = graph_.node(id);
    KernelLine line{{node.op, node.attributes, {}}, {}, {}, node.origin};
    for (NodeId operand : node.operands) line.inputs.push_back(value(operand));
    value(id) = result(node.type);
    line.outputs.push_back(value(id));
    if (info(node.op).results > 1) {
      const ResultTypes types = graph_.result_types(id);
      for (size_t i = 1; i < types.size(); ++i) line.outputs.push_back(result(types[i]));
      further_[id].assign(line.outputs.begin() + 1, line.outputs.end());
    }
    emit(std::move(line));
  }

  void lower_device_copy(NodeId id) {
    const Node& node = graph_.node(id);
    const PlanOperand from = value(node.operands[0]);
    if (plan_.buffer(from.buffer).type.place == node.type.place) {
      value(id) = from;
      return;
    }
    capture_ = false;
    value(id) = result(node.type);
    emit(DeviceCopyLine{from, value(id), node.origin});
  }

  void lower_collective(NodeId id) {
    const Node& node = graph_.node(id);
    const PlanOperand operand = value(node.operands[0]);
    const AlgorithmInfo* algorithm = choices_.algorithm[id];
    if (!algorithm) {
      value(id) = operand;
      return;
    }
    CollectiveLine line{collective_spec(node.op, node.attributes, *algorithm, node.origin), {}, {}, ""};
    value(id) = operand;  // of ops that only hand it on
    // Peers read an operand at the same offset of their own buffers; a shard's offset differs between ranks.
    const bool misplaced = algorithm->symmetric == kInput && sharded_[node.operands[0]];
    if (line.spec.info().inputs > 0)
      line.inputs.push_back(misplaced || !operand.type.view.is_contiguous()
                                ? copied(operand, node.type.place, node.origin)
                                : operand);
    if (line.spec.info().outputs > 0) {
      // A fallback call allocates ordinary memory, so it cannot serve an algorithm whose output is symmetric.
      const bool fallback =
          choices_.lowering == Lowering::fallback && !line.inputs.empty() && algorithm->symmetric != kOutput;
      value(id) = result(node.type, fallback ? BufferKind::fallback : BufferKind::regular);
      line.outputs.push_back(value(id));
      if (fallback) line.call_name = plan_.buffer(value(id).buffer).name + "_call";
    }
    emit(std::move(line));
  }

  // What is returned is the plan's own and stands alone: an input, a constant, a second use of one buffer, or
  // a window that is only part of its buffer is copied. Then values are written back to inputs; whatever
  // still needs an input's old value has been copied before.
  void return_values() {
    Store<BufferId, bool> returned(plan_.buffers.size(), false);
    auto is_source = [&](const PlanOperand& operand) { return plan_.buffer(operand.buffer).index >= 0; };
    auto own = [&](const Output& output) {
      const Node& node = graph_.node(output.value);
      capture_ = plan_.capture && node.type.place == Place::device;
      return copied(value(output.value), node.type.place, node.origin);
    };
    std::vector<PlanOutput> written_back;
    for (const Output& output : graph_.outputs()) {
      PlanOperand operand = value(output.value);
      if (output.mutated_input < 0) {
        const bool taken = is_source(operand) || returned[operand.buffer] ||
                           !is_permutation(operand.type.view, numel(plan_.buffer(operand.buffer).type.shape));
        if (taken)
          operand = own(output);
        else
          returned[operand.buffer] = true;
        plan_.outputs.push_back({operand, -1});
        continue;
      }
      const PlanOperand target = whole(plan_, plan_.inputs[output.mutated_input]);
      if (operand == target) continue;  // the input keeps its value
      if (is_source(operand)) operand = own(output);
      written_back.push_back({operand, output.mutated_input});
    }
    for (PlanOutput& output : written_back) {
      PlanOperand target = whole(plan_, plan_.inputs[output.mutated_input]);
      target.version = 1;
      capture_ = plan_.capture && plan_.buffer(target.buffer).type.place == Place::device;
      emit(copy_line(output.value, target, {}));
      plan_.outputs.push_back({target, output.mutated_input});
    }
  }

  const Graph& graph_;
  Choices choices_;
  Store<NodeId, PlanOperand> values_;
  std::map<NodeId, std::vector<PlanOperand>> further_;  // further results
  Store<NodeId, bool> sharded_;                         // whether the window's offset differs between ranks
  Plan plan_;
  bool capture_ = true;  // of the lines emitted now
};

}  // namespace

Result<Plan> lower(const Graph& graph, Choices choices, const World& world) {
  return Lowerer(graph, std::move(choices), world).run();
}

}  // namespace peri::planner
