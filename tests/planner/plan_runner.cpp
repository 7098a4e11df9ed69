// Runs plans of all ranks in lock step over plain memory.
#include "tests/planner/plan_runner.hpp"

#include <memory>

#include "core/overloaded.hpp"

namespace peri::test {
namespace {

// Elements as the reference holds them; a storage keeps them in order of its buffer.
struct Memory {
  std::vector<double> floats;
  std::vector<int64_t> integers;
};

template <class F>
void for_each_offset(const View& view, F f) {
  const int64_t count = numel(view.shape);
  std::vector<int64_t> index(static_cast<size_t>(view.shape.rank()), 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t offset = view.offset.count();
    for (int d = 0; d < view.shape.rank(); ++d) offset += index[d] * view.strides[d];
    f(static_cast<size_t>(i), static_cast<size_t>(offset));
    for (int d = view.shape.rank() - 1; d >= 0 && ++index[d] == view.shape[d]; --d) index[d] = 0;
  }
}

class Rank {
 public:
  Rank(const planner::Plan& plan, const Arguments& arguments) : plan_(plan), memory_(plan.buffers.size()) {
    for (size_t i = 0; i < plan.inputs.size(); ++i) put_source(plan.inputs[i], arguments.inputs[i]);
    for (size_t i = 0; i < plan.constants.size(); ++i) put_source(plan.constants[i], arguments.constants[i]);
  }

  void allocate(BufferId id) {
    memory(id) = std::make_shared<Memory>();
    const size_t count = static_cast<size_t>(numel(plan_.buffer(id).type.shape));
    memory(id)->floats.assign(count, 1e30);
    memory(id)->integers.assign(count, -777);
  }
  void share(BufferId to, BufferId from) { memory(to) = memory(from); }

  Value get(const planner::PlanOperand& operand) {
    Value value =
        zeros({operand.type.dtype, operand.type.view.shape, plan_.buffer(operand.buffer).type.place});
    const Memory& from = *memory(operand.buffer);
    for_each_offset(operand.type.view, [&](size_t i, size_t offset) {
      if (is_float(operand.type.dtype))
        std::get<Value::Floats>(value.elements).at(i) = from.floats.at(offset);
      else
        std::get<Value::Integers>(value.elements).at(i) = from.integers.at(offset);
    });
    return value;
  }
  void put(const planner::PlanOperand& operand, const Value& value) {
    Memory& to = *memory(operand.buffer);
    for_each_offset(operand.type.view, [&](size_t i, size_t offset) {
      if (is_float(operand.type.dtype))
        to.floats.at(offset) = value.floats().at(i);
      else
        to.integers.at(offset) = value.integers().at(i);
    });
  }
  // What an algorithm that overwrites its operand leaves there.
  void spoil(const planner::PlanOperand& operand) {
    Value value = get(operand);
    if (is_float(operand.type.dtype))
      for (double& x : std::get<Value::Floats>(value.elements)) x = 3e30;
    else
      for (int64_t& x : std::get<Value::Integers>(value.elements)) x = -888;
    put(operand, value);
  }

  Status run(const planner::KernelLine& line) {
    std::vector<Value> registers;
    for (const planner::PlanOperand& in : line.inputs) registers.push_back(get(in));
    if (!line.spec.is_fused()) {
      const std::vector<Value> results =
          PERI_TRY(interpret_results(line.spec.op, registers, line.spec.attributes, plan_.world.rank));
      for (size_t i = 0; i < results.size(); ++i) put(line.outputs[i], results[i]);
      return {};
    }
    // Results are stored as soon as they are made and operands read anew by each instruction: the least
    // careful kernel.
    for (const FusedInstruction& step : line.spec.fused.instructions) {
      for (size_t i = 0; i < line.inputs.size(); ++i) registers[i] = get(line.inputs[i]);
      const Shape& shape = line.outputs[0].type.view.shape;
      Attributes attributes;
      if (step.op == Op::full)
        attributes = {
            {"shape", Ints(shape.begin(), shape.end())}, {"value", step.value}, {"dtype", step.dtype}};
      if (step.op == Op::cast) attributes = {{"dtype", step.dtype}};
      std::vector<Value> operands;
      for (int operand : step.operands) operands.push_back(registers[operand]);
      registers.push_back(PERI_TRY(interpret(step.op, operands, attributes, plan_.world.rank)));
      for (size_t i = 0; i < line.outputs.size(); ++i)
        if (line.spec.fused.results[i] + 1 == static_cast<int>(registers.size()))
          put(line.outputs[i], registers.back());
    }
    return {};
  }

 private:
  std::shared_ptr<Memory>& memory(BufferId id) { return memory_[id]; }
  void put_source(BufferId id, const Value& value) {
    allocate(id);
    const TensorType& type = plan_.buffer(id).type;
    put({id, {type.dtype, View::contiguous(type.shape)}}, value);
  }
  const planner::Plan& plan_;
  Store<BufferId, std::shared_ptr<Memory>> memory_;  // shared as the plan's storages are
};

// The reference's collective: a program of one node, run on every rank.
Result<std::vector<Value>> collective(const planner::CollectiveLine& line, std::span<const Value> operands) {
  std::vector<Arguments> arguments;
  for (const Value& operand : operands) arguments.push_back({{operand}, {}});
  const TensorType& type = operands[0].type;
  Graph graph;
  const NodeId x = PERI_TRY(graph.add(Op::input, {},
                                      {{"index", int64_t{0}},
                                       {"dtype", type.dtype},
                                       {"shape", Ints(type.shape.begin(), type.shape.end())},
                                       {"place", type.place}},
                                      {}));
  graph.set_outputs({{PERI_TRY(graph.add(line.spec.op, {x}, attributes_of(line.spec), line.spec.origin))}});
  std::vector<Value> results;
  for (std::vector<Value>& outputs : PERI_TRY(interpret(graph, arguments)))
    results.push_back(std::move(outputs[0]));
  return results;
}

// One rank's epilogue, as kernel lines of their own that work on the first output, where the collective has
// left its result.
Status run_epilogue(Rank& rank, const planner::CollectiveLine& line) {
  const Epilogue& epilogue = line.spec.epilogue;
  if (!epilogue.program.instructions.empty()) {
    planner::KernelLine program{{.fused = epilogue.program}, line.inputs, line.outputs, {}};
    program.inputs[0] = line.outputs[0];
    program.inputs.resize(epilogue.program.operand_dtypes.size());
    program.outputs.resize(epilogue.program.results.size());
    PERI_TRY(rank.run(program));
  }
  if (!epilogue.rms_norm_eps) return {};
  const Attributes attributes{{"eps", *epilogue.rms_norm_eps}};
  return rank.run(planner::KernelLine{{.op = Op::rms_norm, .attributes = attributes},
                                      {line.outputs[0], line.inputs.back()},
                                      {line.outputs.back()},
                                      {}});
}

// One rank's part of a line; a collective only says what it gives.
Status step(Rank& rank, const planner::Line& line, std::vector<Value>& operands) {
  return std::visit(Overloaded{[&](const planner::AllocateLine& l) -> Status {
                                 rank.allocate(l.buffer);
                                 return {};
                               },
                               [&](const planner::ReuseLine& l) -> Status {
                                 rank.share(l.buffer, l.from);
                                 return {};
                               },
                               [](const planner::FreeLine&) -> Status { return {}; },
                               [&](const planner::InputCopyLine& l) -> Status {
                                 rank.put(l.to, rank.get(l.from));
                                 return {};
                               },
                               [&](const planner::DeviceCopyLine& l) -> Status {
                                 rank.put(l.to, rank.get(l.from));
                                 return {};
                               },
                               [&](const planner::KernelLine& l) { return rank.run(l); },
                               [&](const planner::CollectiveLine& l) -> Status {
                                 // What reads nothing (recv) takes its type from its output.
                                 operands.push_back(rank.get(l.inputs.empty() ? l.outputs[0] : l.inputs[0]));
                                 return {};
                               }},
                    line);
}

}  // namespace

Result<RunResult> run_plans(std::span<const planner::Plan> plans, std::span<const Arguments> arguments) {
  std::vector<Rank> ranks;
  for (size_t r = 0; r < plans.size(); ++r) ranks.emplace_back(plans[r], arguments[r]);
  for (size_t i = 0; i < plans[0].lines.size(); ++i) {
    std::vector<Value> operands;  // of a collective, by rank
    for (size_t r = 0; r < plans.size(); ++r) PERI_TRY(step(ranks[r], plans[r].lines[i].line, operands));
    const auto* call = std::get_if<planner::CollectiveLine>(&plans[0].lines[i].line);
    if (!call || call->spec.op == Op::barrier) continue;
    const std::vector<Value> results = PERI_TRY(collective(*call, operands));
    for (size_t r = 0; r < plans.size(); ++r) {
      const auto& line = std::get<planner::CollectiveLine>(plans[r].lines[i].line);
      if (line.spec.algorithm->clobbers_input) ranks[r].spoil(line.inputs[0]);
      if (line.outputs.empty()) continue;
      if (line.is_fallback()) ranks[r].allocate(line.outputs[0].buffer);
      ranks[r].put(line.outputs[0], results[r]);
      PERI_TRY(run_epilogue(ranks[r], line));
    }
  }
  RunResult result;
  for (size_t r = 0; r < plans.size(); ++r) {
    result.returned.emplace_back();
    result.mutated.emplace_back();
    for (const planner::PlanOutput& output : plans[r].outputs) {
      if (output.mutated_input < 0)
        result.returned.back().push_back(ranks[r].get(output.value));
      else
        result.mutated.back().emplace(output.mutated_input, ranks[r].get(output.value));
    }
  }
  return result;
}

}  // namespace peri::test
