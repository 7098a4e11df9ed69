// See trace.hpp.
#include "bindings/session/trace.hpp"

#include <algorithm>

#include "core/ops/attributes_of.hpp"

namespace peri::session {

DType scalar_dtype(Op op, const std::vector<Argument>& operands) {
  for (size_t i = op == Op::where ? 1 : 0; i < operands.size(); ++i)
    if (const auto* v = std::get_if<ScriptValue>(&operands[i])) return v->type().dtype;
  return DType::f32;
}

Result<ScriptValue> Trace::input(const TensorType& type, const Allocator& allocator, const Origin& origin) {
  const auto index = static_cast<int64_t>(inputs_.size());
  NodeId id = PERI_TRY(graph_.add(Op::input, {},
                                  AttributesOf<Op::input>{.index = index,
                                                          .dtype = type.dtype,
                                                          .shape = Ints(type.shape.begin(), type.shape.end()),
                                                          .place = type.place},
                                  origin, "arg" + std::to_string(index + 1), allocator));
  inputs_.push_back(id);
  return ScriptValue{Symbol{shared_from_this(), id, type}, origin};
}

// The order of dimensions in which a tensor's elements lie in memory, largest stride first.
static Ints memory_order(const kernels::Tensor& t) {
  Ints order;
  for (int i = 0; i < t.type.shape.rank(); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return t.view.strides[static_cast<int>(a)] > t.view.strides[static_cast<int>(b)];
  });
  return order;
}

// A transposed tensor is captured as it lies in memory, and transposed in the graph: where it lies, it need
// not be copied.
Result<NodeId> Trace::constant(const ScriptValue& value) {
  kernels::Tensor t = value.tensor();
  const Ints order = memory_order(t);
  Ints back(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const int from = static_cast<int>(order[i]), to = static_cast<int>(i);
    t.type.shape[to] = value.tensor().type.shape[from];
    t.view.strides[to] = value.tensor().view.strides[from];
    back[static_cast<size_t>(order[i])] = to;
  }
  t.view.shape = t.type.shape;
  if (!t.view.is_contiguous() || value.tensor().view.is_contiguous())
    return constant(value.tensor(), value.made);
  const NodeId id = PERI_TRY(constant(t, value.made));
  return graph_.add(Op::permute, {id}, AttributesOf<Op::permute>{.dims = back}, value.made);
}

// The same window of the same storage is one constant, however often it is used.
Result<NodeId> Trace::constant(const kernels::Tensor& t, const Origin& made) {
  for (size_t i = 0; i < constants_.size(); ++i) {
    const kernels::Tensor& c = constants_[i];
    if (c.storage == t.storage && c.view == t.view && c.type == t.type) return constant_nodes_[i];
  }
  const auto index = static_cast<int64_t>(constants_.size());
  NodeId id =
      PERI_TRY(graph_.add(Op::constant, {},
                          AttributesOf<Op::constant>{.index = index,
                                                     .dtype = t.type.dtype,
                                                     .shape = Ints(t.type.shape.begin(), t.type.shape.end()),
                                                     .place = t.type.place},
                          made, "const" + std::to_string(index + 1), t.storage->allocator()));
  constants_.push_back(t);
  constant_nodes_.push_back(id);
  return id;
}

Result<NodeId> Trace::node_of(const Argument& argument, DType scalar_dtype, const Origin& origin) {
  if (const double* number = std::get_if<double>(&argument))
    return graph_.add(Op::full, {},
                      AttributesOf<Op::full>{.shape = {}, .value = *number, .dtype = scalar_dtype}, origin);
  const ScriptValue& value = std::get<ScriptValue>(argument);
  if (!value.is_symbol()) return constant(value);
  if (value.symbol().trace.get() != this)
    return fail(Code::InvalidArgument, "a value from another traced function is used here", origin,
                "pass it as an argument, or return it from that function");
  return value.symbol().node;
}

Result<ScriptValue> Trace::add(Op op, const std::vector<Argument>& operands, Attributes attributes,
                               const Origin& origin) {
  const DType dtype = session::scalar_dtype(op, operands);
  std::vector<NodeId> nodes;
  for (const Argument& a : operands) nodes.push_back(PERI_TRY(node_of(a, dtype, origin)));
  NodeId id = PERI_TRY(graph_.add(op, std::move(nodes), std::move(attributes), origin));
  return ScriptValue{Symbol{shared_from_this(), id, graph_.node(id).type}, origin};
}

Status Trace::assign(ScriptValue& target, const ScriptValue& value, const Origin& origin) {
  if (!target.is_symbol())
    return fail(Code::InvalidArgument,
                "a captured tensor can't be changed in place inside a compiled function", origin,
                "pass it to the function as an argument: arguments may be changed in place");
  if (target.type() != value.type())
    return fail(Code::ShapeMismatch,
                "in place: the result is " + value.type().to_string() + ", the tensor is " +
                    target.type().to_string(),
                origin);
  const NodeId old = target.symbol().node;
  if (info(graph_.node(old).op).has(kView))
    return fail(Code::Unsupported, "a view can't be changed in place inside a compiled function", origin,
                "change the whole tensor, for instance with index_copy_");
  target = ScriptValue{Symbol{shared_from_this(), value.symbol().node, value.type()}, origin};
  // Whichever argument `old` currently stands for is now `value`.
  int input = -1;
  for (auto& [node, index] : holder_)
    if (node == old) input = index;
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i] == old) input = static_cast<int>(i);
  if (input < 0) return {};
  std::erase_if(holder_, [&](const auto& h) { return h.second == input; });
  holder_.emplace_back(value.symbol().node, input);
  return {};
}

Result<Graph> Trace::finish(const std::vector<ScriptValue>& results) {
  std::vector<Output> outputs;
  for (const ScriptValue& v : results) outputs.push_back({PERI_TRY(node_of(v, DType::f32, v.made)), -1});
  std::sort(holder_.begin(), holder_.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  for (const auto& [node, input] : holder_) outputs.push_back({node, input});
  graph_.set_outputs(std::move(outputs));
  return std::move(graph_);
}

}  // namespace peri::session
