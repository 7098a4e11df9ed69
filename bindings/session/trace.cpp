// See trace.hpp.
#include "bindings/session/trace.hpp"

#include <algorithm>
#include <ranges>

#include "core/ops/attributes_of.hpp"

namespace peri::session {

DType scalar_dtype(Op op, const std::vector<Argument>& operands) {
  for (size_t i = op == Op::where ? 1 : 0; i < operands.size(); ++i)
    if (const auto* v = std::get_if<ScriptValue>(&operands[i])) return v->type().dtype;
  return DType::f32;
}

std::unexpected<Error> refuse_symbol(const Origin& origin) {
  return fail(Code::InvalidArgument,
              "a symbolic tensor of a function that has been traced is used outside of it", origin,
              "return it from the compiled function instead of keeping it");
}

std::unexpected<Error> refuse_repeating(const Origin& origin) {
  return fail(Code::InvalidArgument,
              "in place: an expanded or unfolded tensor has one element in several places", origin,
              "change the tensor that it is made of, or x:contiguous()");
}

// --- storages and views ---

TracedId Trace::add_storage(NodeId node, const View& view, const Origin& origin) {
  const StorageId storage = storages_.push_back({});
  const TracedId base = traced_.push_back(
      {.storage = storage, .parent = {}, .attributes = {}, .node = node, .view = view, .made = origin});
  traced_[base].view.offset = {};
  return storages_[storage].base = base;
}

TracedId Trace::add_view(TracedId parent, NodeId node, const Origin& origin) {
  const Node& made = graph_.node(node);
  const std::optional<View> view =
      view_of(made.op, made.attributes, traced(parent).view, made.type.shape, rank_);
  if (!view) return add_storage(node, View::contiguous(made.type.shape), origin);
  return traced_.push_back({.storage = traced(parent).storage,
                            .parent = parent,
                            .op = made.op,
                            .attributes = made.attributes,
                            .node = node,
                            .version = storage(parent).version,
                            .view = *view,
                            .made = origin});
}

Result<NodeId> Trace::read(TracedId id) {
  if (const TracedId base = storage(id).base; !traced(base).node.valid()) PERI_TRY(use_captured_input(base));
  const int version = storage(id).version;
  std::vector<TracedId> stale;  // the last view first
  for (TracedId at = id; traced(at).version != version; at = traced(at).parent) stale.push_back(at);
  for (const TracedId at : std::views::reverse(stale)) {
    Traced& view = traced(at);
    view.node = PERI_TRY(graph_.add(view.op, {traced(view.parent).node}, view.attributes, view.made));
    view.version = version;
  }
  return traced(id).node;
}

// --- what a trace takes ---

Result<ScriptValue> Trace::input(const TensorType& type, const View& view, const Allocator& allocator,
                                 const Origin& origin) {
  inputs_.push_back(add_storage(PERI_TRY(add_input(type, allocator, origin)), view, origin));
  return ScriptValue{Symbol{shared_from_this(), inputs_.back(), type}, origin};
}

Result<NodeId> Trace::add_input(const TensorType& type, const Allocator& allocator, const Origin& origin) {
  const auto index = static_cast<int64_t>(inputs_.size());
  return graph_.add(Op::input, {},
                    AttributesOf<Op::input>{.index = index,
                                            .dtype = type.dtype,
                                            .shape = Ints(type.shape.begin(), type.shape.end()),
                                            .place = type.place},
                    origin, "arg" + std::to_string(index + 1), allocator);
}

ScriptValue Trace::captured_input(const TensorType& type, const View& view, const Allocator& allocator,
                                  const Origin& origin) {
  const TracedId id = add_storage({}, view, origin);
  captured_inputs_.push_back({id, type, allocator});
  return {Symbol{shared_from_this(), id, type}, origin};
}

std::vector<int> Trace::captured_inputs() const {
  std::vector<int> numbers;
  for (const CapturedInput& captured : captured_inputs_) {
    const auto found = std::ranges::find(inputs_, captured.id);
    numbers.push_back(found == inputs_.end() ? -1 : static_cast<int>(found - inputs_.begin()));
  }
  return numbers;
}

Status Trace::use_captured_input(TracedId base) {
  const auto captured = std::ranges::find(captured_inputs_, base, &CapturedInput::id);
  PERI_CHECK(captured != captured_inputs_.end(), "only captured inputs have no value yet");
  traced(base).node = PERI_TRY(add_input(captured->type, captured->allocator, traced(base).made));
  inputs_.push_back(base);
  return {};
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
Result<TracedId> Trace::captured(const ScriptValue& value) {
  const kernels::Tensor& whole = value.tensor();
  for (const Captured& known : captured_)
    if (known.tensor.storage == whole.storage && known.tensor.view == whole.view &&
        known.tensor.type == whole.type)
      return known.id;
  kernels::Tensor t = whole;
  const Ints order = memory_order(t);
  Ints back(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const int from = static_cast<int>(order[i]), to = static_cast<int>(i);
    t.type.shape[to] = whole.type.shape[from];
    t.view.strides[to] = whole.view.strides[from];
    back[static_cast<size_t>(order[i])] = to;
  }
  t.view.shape = t.type.shape;
  TracedId id;
  if (!t.view.is_contiguous() || whole.view.is_contiguous()) {
    id = PERI_TRY(constant(whole, value.made));
  } else {
    const TracedId base = PERI_TRY(constant(t, value.made));
    const NodeId from = PERI_TRY(read(base));
    id = add_view(
        base, PERI_TRY(graph_.add(Op::permute, {from}, AttributesOf<Op::permute>{.dims = back}, value.made)),
        value.made);
  }
  captured_.push_back({whole, id});
  return id;
}

// The same window of the same storage is one constant, however often it is used.
Result<TracedId> Trace::constant(const kernels::Tensor& t, const Origin& made) {
  for (size_t i = 0; i < constants_.size(); ++i) {
    const kernels::Tensor& c = constants_[i];
    if (c.storage == t.storage && c.view == t.view && c.type == t.type) return constant_ids_[i];
  }
  const auto index = static_cast<int64_t>(constants_.size());
  const NodeId node =
      PERI_TRY(graph_.add(Op::constant, {},
                          AttributesOf<Op::constant>{.index = index,
                                                     .dtype = t.type.dtype,
                                                     .shape = Ints(t.type.shape.begin(), t.type.shape.end()),
                                                     .place = t.type.place},
                          made, "const" + std::to_string(index + 1), t.storage->allocator()));
  constants_.push_back(t);
  constant_ids_.push_back(add_storage(node, t.view, made));
  return constant_ids_.back();
}

Result<TracedId> Trace::id_of(const ScriptValue& value, const Origin& origin) {
  if (!value.is_symbol()) return captured(value);
  if (value.symbol().trace.get() != this)
    return fail(Code::InvalidArgument, "a value from another traced function is used here", origin,
                "pass it as an argument, or return it from that function");
  return value.symbol().id;
}

Result<NodeId> Trace::node_of(const Argument& argument, DType scalar_dtype, const Origin& origin) {
  if (const double* number = std::get_if<double>(&argument))
    return graph_.add(Op::full, {},
                      AttributesOf<Op::full>{.shape = {}, .value = *number, .dtype = scalar_dtype}, origin);
  return read(PERI_TRY(id_of(std::get<ScriptValue>(argument), origin)));
}

// --- what a script does ---

Result<std::vector<ScriptValue>> Trace::add(Op op, const std::vector<Argument>& operands,
                                            Attributes attributes, const Origin& origin) {
  const DType dtype = session::scalar_dtype(op, operands);
  std::vector<NodeId> nodes;
  for (const Argument& a : operands) nodes.push_back(PERI_TRY(node_of(a, dtype, origin)));
  const NodeId first = PERI_TRY(graph_.add(op, std::move(nodes), std::move(attributes), origin));
  const auto* whole = operands.empty() ? nullptr : std::get_if<ScriptValue>(operands.data());
  std::vector<ScriptValue> results;
  for (NodeId node : graph_.add_further_results(first)) {
    const TensorType type = graph_.node(node).type;
    const TracedId id = whole && info(op).has(kView)
                            ? add_view(PERI_TRY(id_of(*whole, origin)), node, origin)
                            : add_storage(node, View::contiguous(type.shape), origin);
    results.push_back({Symbol{shared_from_this(), id, type}, origin});
  }
  return results;
}

Status Trace::assign(const ScriptValue& target, const ScriptValue& value, const Origin& origin) {
  if (target.type() != value.type())
    return fail(Code::ShapeMismatch,
                "in place: the result is " + value.type().to_string() + ", the tensor is " +
                    target.type().to_string(),
                origin);
  const TracedId id = PERI_TRY(id_of(target, origin));
  if (traced(id).view.repeats()) return refuse_repeating(origin);
  const NodeId node = PERI_TRY(node_of(value, DType::f32, origin));
  if (PERI_TRY(read(id)) == node || numel(value.type().shape) == 0) return {};
  const NodeId next = PERI_TRY(next_value(id, node, origin));
  Storage& written = storage(id);
  ++written.version;
  traced(written.base).node = next;
  traced(written.base).version = written.version;
  return {};
}

Result<NodeId> Trace::next_value(TracedId target, NodeId value, const Origin& origin) {
  const TracedId base = storage(target).base;
  if (!traced(base).view.is_contiguous() && std::ranges::find(inputs_, base) == inputs_.end())
    return fail(
        Code::Unsupported,
        "a captured tensor that is not contiguous can't be changed in place inside a compiled function",
        origin, "capture the tensor that it is a view of, and take the view inside");
  if (target == base) return value;
  const NodeId whole = traced(base).node;
  const Shape shape = graph_.node(whole).type.shape;
  const View& view = traced(target).view;
  if (view.is_contiguous() && numel(view.shape) == numel(shape))
    return graph_.add(Op::reshape, {value},
                      AttributesOf<Op::reshape>{.shape = Ints(shape.begin(), shape.end())}, origin);
  const NodeId window = PERI_TRY(read(target));
  if (!window_of(graph_, window, whole, rank_))
    return fail(Code::Unsupported,
                "an argument that is not contiguous is changed through a view of another shape", origin,
                "pass x:contiguous()");
  return graph_.add(Op::window_copy, {whole, window, value}, {}, origin);
}

// --- what a trace gives ---

Result<Graph> Trace::finish(const std::vector<ScriptValue>& results) {
  std::vector<Output> outputs;
  PERI_TRY(take_results(results, outputs));
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (storage(inputs_[i]).version > 0) outputs.push_back({traced(inputs_[i]).node, static_cast<int>(i)});
  PERI_TRY(take_written(outputs));
  graph_.set_outputs(std::move(outputs));
  return std::move(graph_);
}

// Results that share a storage, with one another, with an argument or with a captured tensor, do so outside
// too. The only result on a storage of the function's own is an output by itself.
Status Trace::take_results(const std::vector<ScriptValue>& results, std::vector<Output>& outputs) {
  std::vector<TracedId> ids;
  for (const ScriptValue& v : results) ids.push_back(PERI_TRY(id_of(v, v.made)));
  Store<StorageId, int> sharers(storages_.size(), 0), output_of(storages_.size(), -1);
  for (const TracedId id : ids) {
    if (!traced(storage(id).base).node.valid()) PERI_TRY(read(id));  // a captured input
    ++sharers[traced(id).storage];
  }
  for (const TracedId id : ids) {
    const TracedId base = this->storage(id).base;
    Returned result{.from = Returned::From::output, .captured = {}, .views = {}};
    const StorageId storage = traced(id).storage;
    const auto argument = std::ranges::find(inputs_, base), constant = std::ranges::find(constant_ids_, base);
    const bool alone = argument == inputs_.end() && constant == constant_ids_.end() && sharers[storage] == 1;
    for (TracedId at = id; at != base && !alone; at = traced(at).parent)
      result.views.push_back({traced(at).op, traced(at).attributes});
    std::ranges::reverse(result.views);
    if (argument != inputs_.end()) {
      result.from = Returned::From::argument;
      result.index = static_cast<size_t>(argument - inputs_.begin());
    } else if (constant != constant_ids_.end()) {
      result.from = Returned::From::captured;
      result.captured = constants_[static_cast<size_t>(constant - constant_ids_.begin())];
    } else {
      if (output_of[storage] < 0) {
        output_of[storage] = static_cast<int>(outputs.size());
        outputs.push_back({PERI_TRY(read(alone ? id : base)), -1});
      }
      result.index = static_cast<size_t>(output_of[storage]);
    }
    returned_.push_back(std::move(result));
  }
  return {};
}

// That a captured tensor is written is known only now: its constant becomes an input, in a graph that is else
// the same.
Status Trace::take_written(std::vector<Output>& outputs) {
  std::vector<kernels::Tensor> read_only;
  std::vector<int64_t> number(constants_.size());
  std::vector<bool> is_written(constants_.size(), false);
  for (size_t i = 0; i < constants_.size(); ++i) {
    is_written[i] = storage(constant_ids_[i]).version > 0;
    if (!is_written[i]) {
      number[i] = std::ssize(read_only);
      read_only.push_back(constants_[i]);
      continue;
    }
    number[i] = std::ssize(inputs_) + std::ssize(written_);
    outputs.push_back({traced(constant_ids_[i]).node, static_cast<int>(number[i])});
    written_.push_back(constants_[i]);
  }
  if (written_.empty()) return {};
  Graph graph;
  for (const NodeId id : graph_.topological_order()) {
    const Node& node = graph_.node(id);
    Op op = node.op;
    Attributes attributes = node.attributes;
    if (op == Op::constant) {
      const auto old = static_cast<size_t>(node.attributes.as<Op::constant>().index);
      if (is_written[old]) op = Op::input;
      attributes.set("index", number[old]);
    }
    PERI_TRY(graph.add(op, node.operands, std::move(attributes), node.origin, node.name, node.allocator));
  }
  graph_ = std::move(graph);
  constants_ = std::move(read_only);
  return {};
}

}  // namespace peri::session
