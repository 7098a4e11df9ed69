// Lock step: each rank advances until it needs a collective that others have not reached, and waits there.
// When no rank can advance and not all are done, the programs do not fit together. Also the checks of
// arguments, and perturbation.
#include "core/interpreter/interpreter.hpp"

#include <cmath>
#include <deque>
#include <map>
#include <ranges>

#include <fmt/format.h>

#include "core/interpreter/interpreter_ops.hpp"
#include "core/ops/attributes_of.hpp"
#include "core/ops/families.hpp"
#include "core/store.hpp"
#include "core/types/random.hpp"

namespace peri {
namespace {

// The relative size of one unit in the last place of a 16-bit float, at most.
double last_place(DType t) {
  switch (t) {
    case DType::bf16:
      return 0x1p-7;
    case DType::f16:
      return 0x1p-10;
    case DType::f32:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      break;
  }
  return 0;
}

// An error that every float has near zero, where denormals lose relative precision.
double smallest_step(DType t) {
  switch (t) {
    case DType::f16:
      return 0x1p-24;
    case DType::f32:
    case DType::bf16:
      return 0x1p-126;
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      break;
  }
  PERI_CHECK(false, "not a float dtype");
}

// Results that a correct implementation may get differently: those of rows with a tolerance, and casts that
// round.
bool is_inexact(const Node& node, const Value* operand) {
  if (node.op == Op::cast) return last_place(node.type.dtype) > 0 && is_float(operand->type.dtype);
  return info(node.op).tolerance > 0 && !info(node.op).has(kCreation);
}

// Pointwise ops have a relative error in the result; whatever accumulates, in the operands as well (sums
// cancel).
bool accumulates(const Node& node) {
  return info(node.op).tolerance > 0 && !info(node.op).has(kPointwise);
}

class Perturber {
 public:
  explicit Perturber(std::optional<Perturbation> perturbation) : perturbation_(perturbation) {}
  bool is_on() const { return perturbation_.has_value(); }

  // Each element of a float value off by up to `relative` of itself, then rounded to its dtype if `rounded`.
  void apply(Value& value, double relative, bool rounded) {
    auto* floats = std::get_if<Value::Floats>(&value.elements);
    if (!floats) return;
    std::vector<float> uniform(floats->size());
    fill_uniform(perturbation_->seed, drawn_, DType::f32, uniform);
    drawn_ += uniform.size();
    const double smallest = smallest_step(value.type.dtype);
    for (size_t i = 0; i < uniform.size(); ++i) {
      double& x = (*floats)[i];
      x += (2.0 * uniform[i] - 1.0) * (relative * std::fabs(x) + (rounded ? smallest : 0));
      if (rounded) x = store(value.type.dtype, x);
    }
  }

 private:
  std::optional<Perturbation> perturbation_;
  uint64_t drawn_ = 0;
};

// A program on one rank, and how far it has come.
struct Rank {
  const Graph* program;
  const Arguments* arguments;
  std::vector<NodeId> order;
  size_t next = 0;
  Store<NodeId, Value> values;
  std::map<NodeId, std::vector<Value>> further;  // further results

  bool is_done() const { return next == order.size(); }
  const Node& node() const { return program->node(order[next]); }
  const Value& operand(size_t i) const { return values[node().operands[i]]; }
  void finish(Value value) { values[order[next++]] = std::move(value); }
};

class Interpreter {
 public:
  Interpreter(std::span<const Graph* const> programs, std::span<const Arguments> arguments,
              std::optional<Perturbation> perturbation)
      : perturber_(perturbation) {
    for (size_t r = 0; r < programs.size(); ++r) {
      const Graph* program = programs[r];
      ranks_.push_back({program,
                        &arguments[r],
                        program->topological_order(),
                        0,
                        Store<NodeId, Value>(program->size()),
                        {}});
    }
  }

  Status run();
  std::vector<std::vector<Value>> outputs() const;

 private:
  Result<bool> advance(int r);  // whether it could
  Status source(Rank& rank);
  Status check_group(int r) const;
  Result<bool> meet(int r);
  Result<bool> pass_message(int r);
  Result<bool> receive(int r);
  void compute(int r);
  static Value window_copied(const Rank& rank, int r);
  Value perturbed_operand(const Rank& rank, size_t i);
  void disturb_result(const Node& node, const Value* operand, Value& result);
  std::string describe(int r) const;
  Error stuck() const;

  std::vector<Rank> ranks_;
  Perturber perturber_;
  std::map<std::pair<int, int>, std::deque<Value>> messages_;  // sent and not yet received, by (from, to)
};

Status Interpreter::run() {
  for (bool progressed = true; progressed;) {
    progressed = false;
    for (int r = 0; r < static_cast<int>(ranks_.size()); ++r)
      while (!ranks_[r].is_done() && PERI_TRY(advance(r))) progressed = true;
  }
  for (const Rank& rank : ranks_)
    if (!rank.is_done()) return std::unexpected(stuck());
  for (const auto& [pair, queue] : messages_)
    if (!queue.empty())
      return fail(Code::RankMismatch,
                  fmt::format("rank {} sent to rank {}, which never received it", pair.first, pair.second));
  return {};
}

std::vector<std::vector<Value>> Interpreter::outputs() const {
  std::vector<std::vector<Value>> all;
  for (const Rank& rank : ranks_) {
    all.emplace_back();
    for (const Output& output : rank.program->outputs()) all.back().push_back(rank.values[output.value]);
  }
  return all;
}

Result<bool> Interpreter::advance(int r) {
  Rank& rank = ranks_[r];
  const Node& node = rank.node();
  if (info(node.op).has(kSource)) {
    PERI_TRY(source(rank));
    return true;
  }
  if (node.op == Op::result) {
    const auto index = static_cast<size_t>(node.attributes.as<Op::result>().index);
    rank.finish(rank.further.at(node.operands[0])[index - 1]);
    return true;
  }
  if (node.attributes.find<"group">()) PERI_TRY(check_group(r));
  if (info(node.op).family == Family::message) return pass_message(r);
  if (info(node.op).has(kCollective)) return meet(r);
  compute(r);
  return true;
}

Status Interpreter::source(Rank& rank) {
  const Node& node = rank.node();
  const auto& given = node.op == Op::input ? rank.arguments->inputs : rank.arguments->constants;
  auto index = static_cast<size_t>(node.attributes.get<"index">());
  if (index >= given.size())
    return fail(Code::InvalidArgument, fmt::format("{} {} is not given", to_string(node.op), index),
                node.origin);
  const Value& value = given[index];
  bool whole =
      std::visit([&](const auto& e) { return std::ssize(e) == numel(node.type.shape); }, value.elements);
  if (value.type != node.type || !whole ||
      is_float(node.type.dtype) != std::holds_alternative<Value::Floats>(value.elements))
    return fail(Code::InvalidArgument,
                fmt::format("{} {} is {}, and the program takes {}", to_string(node.op), index,
                            value.type.to_string(), node.type.to_string()),
                node.origin);
  rank.finish(value);
  return {};
}

Status Interpreter::check_group(int r) const {
  const Node& node = ranks_[r].node();
  const Group& group = node.attributes.get<"group">();
  if (group.index_of(r) < 0)
    return fail(Code::InvalidArgument, fmt::format("{}: {}", to_string(node.op), not_in_group(group, r)),
                node.origin);
  for (int member : group.ranks)
    if (member >= std::ssize(ranks_))
      return fail(Code::InvalidArgument,
                  fmt::format("{}: {} is not within the {} ranks", to_string(node.op), group.to_string(),
                              ranks_.size()),
                  node.origin);
  return {};
}

void Interpreter::compute(int r) {
  Rank& rank = ranks_[r];
  const Node& node = rank.node();
  if (info(node.op).family == Family::window) return rank.finish(window_copied(rank, r));
  std::vector<Value> perturbed;
  std::vector<const Value*> operands;
  perturbed.reserve(node.operands.size());
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (perturber_.is_on() && accumulates(node)) perturbed.push_back(perturbed_operand(rank, i));
    operands.push_back(perturbed.empty() ? &rank.operand(i) : &perturbed.back());
  }
  std::vector<Value> results = reference::compute_results({node.op, operands, node.attributes, node.type, r});
  PERI_CHECK(results.size() == info(node.op).results, "an op means as many results as its family's row says");
  disturb_result(node, operands.empty() ? nullptr : operands[0], results[0]);
  if (results.size() > 1)
    rank.further[rank.order[rank.next]].assign(std::move_iterator(results.begin() + 1),
                                               std::move_iterator(results.end()));
  rank.finish(std::move(results[0]));
}

// The numbers of the base's elements go through the views that made the operand `view`: where each comes out,
// the source's element belongs in its place.
Value Interpreter::window_copied(const Rank& rank, int r) {
  const Node& node = rank.node();
  std::vector<const Node*> views;  // the last first
  for (NodeId id = node.operands[1]; id != node.operands[0]; id = views.back()->operands[0])
    views.push_back(&rank.program->node(id));
  Value numbers = zeros({DType::i64, node.type.shape, node.type.place});
  auto& number = std::get<Value::Integers>(numbers.elements);
  for (size_t i = 0; i < number.size(); ++i) number[i] = static_cast<int64_t>(i);
  for (const Node* view : std::views::reverse(views)) {
    const Value* operand = &numbers;
    const TensorType type{DType::i64, view->type.shape, view->type.place};
    numbers = reference::compute({view->op, {&operand, 1}, view->attributes, type, r});
  }
  Value result = rank.operand(0);
  std::visit(
      [&](auto& to) {
        const auto& from = std::get<std::decay_t<decltype(to)>>(rank.operand(2).elements);
        for (size_t i = 0; i < from.size(); ++i) to[static_cast<size_t>(numbers.integers()[i])] = from[i];
      },
      result.elements);
  return result;
}

Value Interpreter::perturbed_operand(const Rank& rank, size_t i) {
  Value value = rank.operand(i);
  perturber_.apply(value, info(rank.node().op).tolerance, false);
  return value;
}

void Interpreter::disturb_result(const Node& node, const Value* operand, Value& result) {
  if (perturber_.is_on() && is_inexact(node, operand))
    perturber_.apply(result, info(node.op).tolerance + last_place(node.type.dtype), true);
}

// Whether two ranks' nodes are the same collective. The algorithm is each rank's own business here: it
// changes no value.
bool same_collective(const Node& a, const Node& b, const TensorType& a_operand, const TensorType& b_operand) {
  Attributes left = a.attributes, right = b.attributes;
  if (left.find<"algorithm">()) left.set("algorithm", std::string());
  if (right.find<"algorithm">()) right.set("algorithm", std::string());
  return a.op == b.op && left == right && a_operand == b_operand;
}

Result<bool> Interpreter::meet(int r) {
  const Node& node = ranks_[r].node();
  const Group group = node.attributes.get<"group">();
  for (int member : group.ranks) {
    const Rank& other = ranks_[member];
    if (other.is_done() || other.node().operands.empty() ||
        !same_collective(node, other.node(), ranks_[r].operand(0).type, other.operand(0).type))
      return false;
  }
  std::vector<Value> perturbed;
  std::vector<const Value*> operands;
  perturbed.reserve(group.ranks.size());
  for (int member : group.ranks) {
    if (perturber_.is_on() && accumulates(node)) perturbed.push_back(perturbed_operand(ranks_[member], 0));
    operands.push_back(perturbed.empty() ? &ranks_[member].operand(0) : &perturbed.back());
  }
  std::vector<Value> results;
  if (node.op == Op::barrier)
    for (const Value* operand : operands) results.push_back(*operand);
  else
    results = reference::collective(node, operands);
  for (size_t i = 0; i < results.size(); ++i) {
    disturb_result(node, operands[i], results[i]);
    ranks_[group.ranks[i]].finish(std::move(results[i]));
  }
  return true;
}

Result<bool> Interpreter::pass_message(int r) {
  Rank& rank = ranks_[r];
  switch (op_of<MessageOp>(rank.node().op)) {
    case MessageOp::send:
      messages_[{r, static_cast<int>(rank.node().attributes.get<"peer">())}].push_back(rank.operand(0));
      rank.finish(rank.operand(0));
      return true;
    case MessageOp::recv:
      return receive(r);
    case MessageOp::barrier:
      return meet(r);
  }
  PERI_CHECK(false, "not a message");
}

Result<bool> Interpreter::receive(int r) {
  Rank& rank = ranks_[r];
  const Node& node = rank.node();
  auto peer = static_cast<int>(node.attributes.get<"peer">());
  std::deque<Value>& queue = messages_[{peer, r}];
  if (queue.empty()) return false;
  if (queue.front().type != node.type)
    return fail(Code::RankMismatch,
                fmt::format("recv: rank {} sent {}, and rank {} expects {}", peer,
                            queue.front().type.to_string(), r, node.type.to_string()),
                node.origin);
  rank.finish(std::move(queue.front()));
  queue.pop_front();
  return true;
}

std::string Interpreter::describe(int r) const {
  const Rank& rank = ranks_[r];
  if (rank.is_done()) return fmt::format("rank {} is done", r);
  const Node& node = rank.node();
  std::string line = fmt::format("rank {} waits in {}(", r, to_string(node.op));
  for (const auto& [name, value] : node.attributes.items())
    line += fmt::format("{} = {}, ", name, to_string(value));
  line += fmt::format("{})", rank.operand(0).type.to_string());
  if (node.origin.known()) line += " at " + node.origin.to_string();
  return line;
}

Error Interpreter::stuck() const {
  Error error{Code::RankMismatch, "the ranks issue collectives that do not meet"};
  for (int r = 0; r < std::ssize(ranks_); ++r) {
    error.context.push_back(describe(r));
    if (!error.where.known() && !ranks_[r].is_done()) error.where = ranks_[r].node().origin;
  }
  return error;
}

}  // namespace

Result<std::vector<std::vector<Value>>> interpret(std::span<const Graph* const> programs,
                                                  std::span<const Arguments> arguments,
                                                  std::optional<Perturbation> perturbation) {
  if (programs.size() != arguments.size())
    return fail(Code::InvalidArgument,
                fmt::format("{} programs and {} ranks' arguments", programs.size(), arguments.size()));
  Interpreter interpreter(programs, arguments, perturbation);
  PERI_TRY(interpreter.run());
  return interpreter.outputs();
}

Result<std::vector<std::vector<Value>>> interpret(const Graph& program, std::span<const Arguments> arguments,
                                                  std::optional<Perturbation> perturbation) {
  std::vector<const Graph*> programs(arguments.size(), &program);
  return interpret(programs, arguments, perturbation);
}

}  // namespace peri
