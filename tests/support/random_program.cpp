// The generator: for every op of the table, how to choose operands and attributes. Whether the result is tame
// is range_of's business (value_range.cpp).
#include "tests/support/random_program.hpp"

#include <algorithm>
#include <limits>

#include "core/ops/attributes_of.hpp"
#include "core/ops/collective.hpp"
#include "core/ops/families.hpp"
#include "tests/support/program_values.hpp"

namespace peri::testing {
namespace {

constexpr int kMaxRank = 4;
constexpr int kAttempts = 6;  // at operands that suit an op

class Builder : private ProgramValues {
 public:
  Builder(uint64_t seed, const ProgramOptions& options) : ProgramValues(seed, options) {}

  Graph build() {
    for (int64_t i = random_.between(1, 3); i > 0; --i) source(random_dtype(), random_shape());
    int64_t nodes = random_.between(options_.max_nodes / 3, options_.max_nodes);
    // Some choices add nothing (the op suits no value at hand), so there are more rounds than nodes.
    for (int64_t round = 0; round < 4 * nodes && graph_.size() < nodes; ++round)
      if (random_.chance(8))
        repeat();
      else if (!options_.entangled)
        try_op(random_op());
      else
        entangle();
    for (int64_t i = options_.layered ? random_.between(1, 3) : 0; i > 0; --i) add_layer();
    choose_outputs();
    return std::move(graph_);
  }

 private:
  // The same once more: what plans compute once.
  void repeat() {
    if (items_.empty()) return;
    const Item x = random_.pick(items_);
    const Node& node = graph_.node(x.id);
    if (info(node.op).has(kSource) || node.op == Op::result) return;
    std::vector<Item> operands;
    for (NodeId operand : node.operands) {
      const auto found = std::ranges::find(items_, operand, &Item::id);
      if (found == items_.end()) return;  // on the host
      operands.push_back(*found);
    }
    const Found again = add(node.op, operands, Attributes(node.attributes));
    if (again && again->type.dtype != DType::boolean && random_.chance(50)) add(Op::neg, {*again}, {});
  }
  void entangle() {
    using enum Op;
    if (random_.chance(10)) return static_cast<void>(reduce_halves());
    if (random_.chance(10)) return try_op(random_op());
    try_op(random_.pick({all_reduce, all_reduce, all_reduce, all_reduce, all_reduce, all_gather,
                         reduce_scatter, all_to_all, slice, slice, slice, permute, permute, reshape, neg, add,
                         add, index_copy}));
  }
  // Both halves of a value reduced, and the value read again.
  Found reduce_halves() {
    Item x = find_or_make(DType::f32, random_.pick<Shape>({{4, 4}, {8, 4}, {2, 4, 4}}));
    if (random_.chance(70)) x = add(Op::neg, {x}, {}).value_or(x);
    const Attributes attributes{{"group", random_group()}, {"algorithm", random_algorithm(Op::all_reduce)}};
    const int64_t half = x.type.shape[0] / 2;
    for (int64_t start : {int64_t{0}, half}) {
      Found part = add(Op::slice, {x}, {{"dim", int64_t{0}}, {"start", start}, {"stop", start + half}});
      if (part) add(Op::all_reduce, {*part}, attributes);
    }
    return random_.chance(70) ? add(Op::neg, {x}, {}) : std::nullopt;
  }

  // A sum over the ranks, with another value, normalised; perhaps without one of the two, or with more
  // beside.
  void add_layer() {
    const Item x = find_or_make(DTypes::floats, 1);
    const Item other = find_or_make(x.type.dtype, x.type.shape);
    const Item scale = find_or_make(x.type.dtype, Shape{x.type.shape[x.type.shape.rank() - 1]});
    const Found sum = add(Op::all_reduce, {x}, {{"group", random_group()}});
    Found value = sum;
    if (sum && random_.chance(70)) value = add(random_.pick({Op::add, Op::maximum}), {other, *sum}, {});
    if (sum && random_.chance(20)) add(Op::neg, {*sum}, {});
    if (value) add(Op::rms_norm, {*value, scale}, {{"eps", random_.pick({1e-3, 0.1})}});
  }

  // --- one op ---

  // Composites less often: their steps are ops that come up anyway.
  Op random_op() {
    const Op op = static_cast<Op>(random_.below(kOpCount));
    return info(op).has(kComposite) ? static_cast<Op>(random_.below(kOpCount)) : op;
  }

  // By family and by what the row declares, so that a new op of an old family comes up without a line here.
  void try_op(Op op) {
    switch (info(op).family) {
      case Family::pointwise:
        return try_pointwise(op);
      case Family::reduction:
      case Family::arg_reduction:
        return try_reduction(op);
      case Family::scan:
        return try_scan(op);
      case Family::sorting:
        return try_sorting(op_of<SortingOp>(op));
      case Family::result:  // comes with its operand
        return;
      case Family::collective:
        return try_collective(op);
      case Family::message:
        if (op == Op::barrier) try_collective(op);  // the others need a program per rank
        return;
      case Family::source:
        if (random_.chance(30)) source(random_dtype(), random_shape());
        return;
      case Family::creation:
        return try_creation(op);
      case Family::normalisation:
        return try_normalisation(op);
      case Family::matmul:
        return try_matmul(op);
      case Family::composite:
        return try_composite(op_of<CompositeOp>(op));
      case Family::gather:
        return op == Op::gather ? try_element_lookup(op) : try_lookup(op);
      case Family::scatter:
        return op == Op::index_copy ? try_lookup(op) : try_element_lookup(op);
      case Family::view:
        if (op == Op::shard) return try_collective(op);
        try_view(op, find_or_make(DTypes::any));
        return;
      case Family::window:
        return try_window(op);
      case Family::copy:
        if (info(op).max_operands < 0) return try_join(op);
        try_view(op, find_or_make(DTypes::any));
        return;
      case Family::device_copy: {
        Found there = add(op, {find_or_make(DTypes::any)}, {{"place", Place::host}});
        if (there && random_.chance(40))
          there = try_view(random_.pick({Op::slice, Op::permute, Op::contiguous}), *there);
        if (there) add(op, {*there}, {{"place", Place::device}});
        return;
      }
      case Family::rope:
      case Family::attention:
        return try_transformer(op);
    }
  }

  void try_composite(CompositeOp op) {
    switch (op) {
      case CompositeOp::linear:
        return try_matmul(Op::linear);
      case CompositeOp::transpose:
        try_view(Op::transpose, find_or_make(DTypes::any));
        return;
      case CompositeOp::stack:
        return try_join(Op::stack);
      case CompositeOp::any:
      case CompositeOp::all:
      case CompositeOp::norm:
        return try_reduction(static_cast<Op>(op));
      case CompositeOp::one_hot: {
        const int64_t classes = random_size();
        add(Op::one_hot, {positions(random_.below(6), classes + 2, false)},
            {{"classes", classes}, {"dtype", random_dtype()}});
        return;
      }
      case CompositeOp::masked_fill: {
        const Item x = find_or_make(DTypes::any);
        const double value = x.type.dtype == DType::f32 ? 0.5 : 1;
        add(Op::masked_fill, {x, source(DType::boolean, broadcastable(x.type.shape))}, {{"value", value}});
        return;
      }
      case CompositeOp::tile:
      case CompositeOp::pad:
        return try_enlarging(static_cast<Op>(op));
      case CompositeOp::conv1d:
      case CompositeOp::conv2d:
        return try_convolution(static_cast<Op>(op));
    }
  }

  void try_enlarging(Op op) {
    const Item x = find_or_make(DTypes::any);
    Ints numbers;
    const int64_t dims =
        random_.below(std::min(x.type.shape.rank() + (op == Op::tile ? 1 : 0), kMaxRank) + 1);
    for (int64_t i = dims * (op == Op::tile ? 1 : 2); i > 0; --i) numbers.push_back(random_.below(3));
    if (op == Op::tile)
      add(op, {x}, {{"repeats", numbers}});
    else
      add(op, {x}, {{"padding", numbers}, {"value", 1.0}});
  }

  void try_convolution(Op op) {
    const int64_t groups = random_.between(1, 2), in = random_.between(1, 2), out = random_.between(1, 2);
    const int spatial = op == Op::conv1d ? 1 : 2;
    Shape shape = {random_.below(3), groups * in}, kernel = {groups * out, in};
    for (int d = 0; d < spatial; ++d) {
      shape.push_back(random_.between(5, 9));
      kernel.push_back(random_.between(1, 3));
    }
    const DType dtype = random_float();
    std::vector<Item> operands = {find_or_make(dtype, shape), find_or_make(dtype, kernel)};
    if (random_.chance(50)) operands.push_back(find_or_make(dtype, {groups * out}));
    add(op, operands,
        {{"stride", Ints{random_.between(1, 3)}},
         {"padding", Ints(static_cast<size_t>(spatial), random_.below(3))},
         {"dilation", random_.chance(50) ? Ints{} : Ints{random_.between(1, 2)}},
         {"groups", groups}});
  }

  void try_scan(Op op) {
    const Item x = find_or_make(info(op).dtypes, 1);
    add(op, {x}, of_dim(x));
  }

  void try_creation(Op op) {
    DType dtype = random_dtype();
    while (!takes(info(op).dtypes, dtype)) dtype = random_dtype();
    // Whole numbers for whoever keeps only those.
    const double unit = is_float(dtype) ? 0.5 : 1;
    const int64_t least = dtype == DType::u8 || dtype == DType::boolean ? 0 : -4;
    Attributes attributes;
    const int64_t most = dtype == DType::boolean ? 1 : 4;
    for (const AttributeInfo& attribute : info(op).attributes) {
      if (attribute.kind == Kind::shape) attributes.set(attribute.name, to_ints(random_shape()));
      if (attribute.kind == Kind::integer) attributes.set(attribute.name, random_size());
      if (attribute.kind == Kind::number)
        attributes.set(attribute.name, static_cast<double>(random_.between(least, most)) * unit);
    }
    attributes.set("dtype", dtype);
    if (random_.chance(30)) add(op, {}, attributes);
  }

  void try_normalisation(Op op) {
    const OpInfo& row = info(op);
    Item x = find_or_make(DTypes::floats, 1);
    Shape width{x.type.shape[x.type.shape.rank() - 1]};
    std::vector<Item> operands = {x};
    for (int i = 1; i < row.max_operands; ++i)
      if (i < row.min_operands || random_.chance(60)) operands.push_back(find_or_make(x.type.dtype, width));
    Attributes attributes;
    for (const AttributeInfo& attribute : row.attributes) {
      if (attribute.kind == Kind::dim) attributes = of_dim(x);
      if (attribute.name == "eps") attributes.set("eps", random_.pick({1e-5, 1e-3, 0.1}));
    }
    add(op, operands, attributes);
  }

  void try_pointwise(Op op) {
    const OpInfo& row = info(op);
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (op == Op::where) {
        Item x = find_or_make(DTypes::any);
        Found found = find([&](const Item& c) {
          return c.type.dtype == DType::boolean &&
                 peri::broadcast(c.type.shape, x.type.shape).value_or(Shape{}) == x.type.shape;
        });
        Item condition = found ? *found : source(DType::boolean, broadcastable(x.type.shape));
        Item y = find_or_make(x.type.dtype, x.type.shape);
        if (add(op, {condition, x, y}, {})) return;
        continue;
      }
      Item x = find_or_make(row.dtypes);
      if (attempt + 2 == kAttempts && is_float(x.type.dtype)) x = positive(x).value_or(x);
      if (attempt + 1 == kAttempts) x = source(x.type.dtype, random_shape());  // a source is exact
      std::vector<Item> operands = {x};
      if (row.max_operands == 2) operands.push_back(partner(x));
      if (attempt >= 2 && operands.size() == 2 && is_float(x.type.dtype))
        operands[1] = op == Op::mod ? full(x.type.dtype, random_.pick({-2.0, 0.75, 1.5}))
                                    : positive(operands[1]).value_or(operands[1]);
      Attributes attributes;
      if (op == Op::cast) attributes.set("dtype", random_dtype());
      if (add(op, operands, attributes)) return;
    }
  }

  void try_reduction(Op op) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      bool one_dim = info(op).family == Family::arg_reduction;
      Item x = find_or_make(info(op).dtypes, one_dim ? 1 : 0);
      Attributes attributes = one_dim ? of_dim(x) : Attributes{};
      if (op == Op::norm)
        attributes.set("p", random_.pick({1.0, 2.0, std::numeric_limits<double>::infinity()}));
      attributes.set("keepdim", random_.chance(40));
      Ints dims;
      for (int d = 0; d < x.type.shape.rank(); ++d)
        if (random_.chance(40)) dims.push_back(random_.chance(30) ? d - x.type.shape.rank() : d);
      if (!one_dim) attributes.set("dims", dims);
      if (info(op).rule != "total" && has_empty_dim(x.type.shape)) continue;
      if (add(op, {x}, attributes)) return;
    }
  }
  void try_sorting(SortingOp op) {
    Item x = find_or_make(DTypes::numeric, 1);
    // Positions are what every implementation finds only if it has the values exactly.
    if (!x.exact && random_.chance(60)) x = source(x.type.dtype, x.type.shape);
    Attributes attributes = of_dim(x);
    const int64_t given = attributes.get<"dim">(), rank = x.type.shape.rank();
    const int dim = static_cast<int>(given < 0 ? given + rank : given);
    switch (op) {
      case SortingOp::sort:
        attributes.set("descending", random_.chance(50));
        break;
      case SortingOp::topk:
        attributes.set("k", random_.between(0, x.type.shape[dim]));
        attributes.set("largest", random_.chance(50));
        break;
    }
    const Found values = add(static_cast<Op>(op), {x}, attributes);
    if (!values || !x.exact) return;
    const Shape& shape = values->type.shape;
    add(Op::result, {*values}, AttributesOf<Op::result>{1, DType::i64, to_ints(shape)});
  }
  static bool has_empty_dim(const Shape& shape) { return numel(shape) == 0; }

  void try_matmul(Op op) {
    Item a = find_or_make(DTypes::floats, op == Op::matmul ? 2 : 1);
    const Shape& shape = a.type.shape;
    int64_t depth = shape[shape.rank() - 1], columns = random_size();
    if (op == Op::linear) {
      if (columns * depth > kMaxTensor) return;
      std::vector<Item> operands = {a, find_or_make(a.type.dtype, {columns, depth})};
      if (random_.chance(50)) operands.push_back(find_or_make(a.type.dtype, {columns}));
      add(op, operands, {});
      return;
    }
    Shape batch(std::span(shape.begin(), shape.end() - 2));
    Shape other = broadcastable(batch);
    other.push_back(depth);
    other.push_back(columns);
    if (numel(other) > kMaxTensor) return;
    Found b = find([&](const Item& x) {
      const Shape& s = x.type.shape;
      return x.type.dtype == a.type.dtype && s.rank() == 2 && s[0] == depth;
    });
    add(op, {a, b && random_.chance(40) ? *b : source(a.type.dtype, other)}, {});
  }

  void try_lookup(Op op) {
    Item x = find_or_make(DTypes::any, 1);
    if (op == Op::embedding && x.type.shape.rank() != 2)
      x = source(random_dtype(), {random_.between(1, 9), random_size()});
    int64_t dim = op == Op::embedding ? 0 : random_.below(x.type.shape.rank());
    int64_t size = x.type.shape[static_cast<int>(dim)];
    int64_t count = size == 0 ? 0 : random_.between(0, op == Op::index_copy ? size : 9);
    Item index = positions(count, std::max<int64_t>(size, 1), op == Op::index_copy);
    if (op == Op::embedding) {
      if (random_.chance(40)) index = *add(Op::reshape, {index}, {{"shape", Ints{1, count}}});
      add(op, {index, x}, {});
    } else if (op == Op::index_select) {
      add(op, {x, index}, {{"dim", dim}});
    } else {
      Shape slices = x.type.shape;
      slices[static_cast<int>(dim)] = count;
      add(op, {x, index, find_or_make(x.type.dtype, slices)}, {{"dim", dim}});
    }
  }

  // An index for each element.
  void try_element_lookup(Op op) {
    const Item x = find_or_make(op == Op::scatter_add ? DTypes::numeric : DTypes::any, 1);
    const int64_t dim = random_.below(x.type.shape.rank());
    const int64_t size = x.type.shape[static_cast<int>(dim)];
    Shape chosen = x.type.shape;
    for (int d = 0; d < chosen.rank(); ++d)
      if (random_.chance(20)) chosen[d] = random_.below(chosen[d] + 1);
    chosen[static_cast<int>(dim)] = size == 0 ? 0 : random_.below(10);
    if (numel(chosen) > kMaxTensor) return;
    const Item all = positions(numel(chosen), std::max<int64_t>(size, 1), false);
    const Item index = *add(Op::reshape, {all}, {{"shape", to_ints(chosen)}});
    if (op == Op::gather)
      add(op, {x, index}, {{"dim", dim}});
    else
      add(op, {x, index, find_or_make(x.type.dtype, chosen)}, {{"dim", dim}});
  }

  Found try_view(Op op, Item x) {
    const Shape& shape = x.type.shape;
    int rank = shape.rank();
    if (op == Op::contiguous) return add(op, {x}, {});
    if (op == Op::reshape) return add(op, {x}, {{"shape", other_shape(shape)}});
    if (op == Op::expand) {
      Ints dims = to_ints(shape);
      for (int64_t& size : dims)
        if (size == 1 && random_.chance(60)) size = random_size();
      if (rank < kMaxRank && random_.chance(40)) dims.insert(dims.begin(), random_.between(1, 3));
      return add(op, {x}, {{"shape", dims}});
    }
    if (op == Op::permute) {
      Ints dims;
      for (int d = 0; d < rank; ++d) dims.insert(dims.begin() + random_.below(d + 1), d);
      return add(op, {x}, {{"dims", dims}});
    }
    if (rank == 0) return std::nullopt;
    if (op == Op::transpose)
      return add(op, {x}, {{"dim0", random_.below(rank)}, {"dim1", -1 - random_.below(rank)}});
    Attributes attributes = of_dim(x);
    int64_t dim = attributes.get<"dim">();
    int64_t size = shape[static_cast<int>(dim < 0 ? dim + rank : dim)];
    if (op == Op::unfold) {
      if (rank == kMaxRank) return std::nullopt;
      attributes.set("size", random_.between(0, std::min<int64_t>(size, 5)));
      attributes.set("step", random_.between(1, 3));
      return add(op, {x}, attributes);
    }
    int64_t start = random_.between(0, size), stop = random_.between(start, size);
    if (options_.entangled && size % 2 == 0) {  // a half: the other one has the same shape
      start = random_.below(2) * size / 2;
      stop = start + size / 2;
      return add(Op::slice, {x}, {{"dim", dim}, {"start", start}, {"stop", stop}});
    }
    attributes.set("start", start > 0 && start < size && random_.chance(20) ? start - size : start);
    attributes.set("stop", random_.chance(20) ? stop - size - 1 : stop);
    attributes.set("step", random_.between(1, 3));
    return add(Op::slice, {x}, attributes);
  }
  // A tensor changed through views, perhaps to what is computed from them.
  void try_window(Op op) {
    const Item x = find_or_make(DTypes::any, 1);
    const bool splits = x.type.shape[0] % options_.world == 0 && random_.chance(30);
    Found view = splits ? add(Op::shard, {x}, {{"dim", int64_t{0}}, {"group", world_}}) : x;
    for (int64_t i = random_.between(1, 3); i > 0 && view; --i)
      view = try_view(random_.pick({Op::slice, Op::slice, Op::permute, Op::reshape}), *view);
    if (!view || !window_of(graph_, view->id, x.id, 0)) return;
    Found source = find_or_make(view->type.dtype, view->type.shape);
    if (random_.chance(60) && view->type.dtype != DType::boolean)
      source = add(Op::maximum, {*view, *source}, {});
    if (source) add(op, {x, *view, *source}, {});
  }
  Ints other_shape(const Shape& shape) {
    Ints dims = to_ints(shape);
    int rank = shape.rank();
    switch (random_.below(4)) {
      case 0:
        return {numel(shape)};
      case 1:  // two dimensions joined
        if (rank < 2) break;
        dims[0] *= dims[1];
        dims.erase(dims.begin() + 1);
        break;
      case 2:  // one divided
        for (size_t d = 0; d < dims.size(); ++d)
          for (int64_t part : {2, 3, 17})
            if (rank < kMaxRank && dims[d] > 0 && dims[d] % part == 0) {
              dims[d] /= part;
              dims.insert(dims.begin() + static_cast<int64_t>(d), part);
              if (numel(shape) > 0 && random_.chance(50)) dims[d + 1] = -1;
              return dims;
            }
        break;
      case 3:
        if (rank < kMaxRank) dims.insert(dims.begin() + random_.below(rank + 1), 1);
        break;
    }
    return dims;
  }

  void try_join(Op op) {
    Item x = find_or_make(DTypes::any, op == Op::cat ? 1 : 0);
    if (op == Op::stack && x.type.shape.rank() == kMaxRank) return;
    int64_t dim = op == Op::cat ? random_.below(x.type.shape.rank()) : random_.below(x.type.shape.rank() + 1);
    std::vector<Item> operands = {x};
    for (int64_t more = random_.below(3); more > 0; --more) {
      Shape shape = x.type.shape;
      if (op == Op::cat && random_.chance(50)) shape[static_cast<int>(dim)] = random_.below(4);
      if (numel(shape) > kMaxTensor) return;
      operands.push_back(find_or_make(x.type.dtype, shape));
    }
    add(op, operands, {{"dim", dim}});
  }

  void try_transformer(Op op) {
    int64_t sequence = random_.pick<int64_t>({1, 2, 3, 5, 8}), width = random_.pick<int64_t>({2, 4, 6, 8});
    int64_t key_heads = random_.between(1, 2), heads = key_heads * random_.between(1, 2);
    if (op == Op::rope) {
      Found x = find([](const Item& item) {
        const Shape& s = item.type.shape;
        return is_float(item.type.dtype) && s.rank() >= 3 && s[s.rank() - 1] % 2 == 0 && numel(s) > 0;
      });
      if (!x) x = source(random_float(), {sequence, heads, width});
      const Shape& shape = x->type.shape;
      add(op, {*x, positions(shape[shape.rank() - 3], 50, false)},
          {{"base", random_.pick({10000.0, 100.0})}});
      return;
    }
    DType dtype = random_float();
    int64_t keys = sequence + random_.below(4);
    std::vector<Item> operands = {find_or_make(dtype, {sequence, heads, width}),
                                  find_or_make(dtype, {keys, key_heads, width}),
                                  find_or_make(dtype, {keys, key_heads, width})};
    if (operands[0].range.size() > 10 || operands[1].range.size() > 10) return;
    if (random_.chance(40)) operands.push_back(positions(sequence, keys + 2, false));
    add(op, operands, {{"causal", random_.chance(70)}, {"scale", random_.pick({0.0, 0.0, 0.25})}});
  }

  void try_collective(Op op) {
    Attributes attributes{{"group", random_group()}};
    Item x = find_or_make(info(op).dtypes, 1);
    int64_t rank = x.type.shape.rank();
    bool splits = op == Op::reduce_scatter || op == Op::all_to_all || op == Op::shard;
    int64_t dim = random_.below(rank);
    if (splits && x.type.shape[static_cast<int>(dim)] % options_.world != 0) {
      Shape shape = x.type.shape;
      shape[static_cast<int>(dim)] = options_.world * random_.between(1, 3);
      if (numel(shape) > kMaxTensor) return;
      x = find_or_make(x.type.dtype, shape);
    }
    if (op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce)
      attributes.set("reduce", is_float(x.type.dtype)
                                   ? random_.pick<std::string>({"sum", "sum", "avg", "min", "max", "prod"})
                                   : random_.pick<std::string>({"sum", "min", "max", "prod"}));
    if (op == Op::all_gather || op == Op::reduce_scatter || op == Op::shard) attributes.set("dim", dim);
    if (op == Op::all_to_all) {
      attributes.set("split_dim", dim);
      attributes.set("concat_dim", random_.below(rank));
    }
    if (op == Op::broadcast || op == Op::reduce) attributes.set("root", random_.below(options_.world));
    if ((options_.name_algorithms || (options_.entangled && random_.chance(70))) && op != Op::shard &&
        op != Op::barrier)
      attributes.set("algorithm", random_algorithm(op));
    add(op, {x}, attributes);
  }
  // All ranks: in another order they are another group, with symmetric memory of its own.
  Group random_group() {
    Group group = world_;
    if (options_.entangled && random_.chance(30)) std::ranges::reverse(group.ranks);
    return group;
  }
  std::string random_algorithm(Op op) {
    if (options_.entangled && op == Op::all_reduce && random_.chance(60)) return "two_shot";
    std::vector<std::string> names = {""};
    for (const AlgorithmInfo& row : algorithms())
      if (row.op == op && !uses_multicast(row.algorithm) && row.algorithm != Algorithm::nccl)
        names.emplace_back(row.name);
    return random_.pick(names);
  }

  // --- what the program gives ---

  void choose_outputs() {
    std::vector<NodeId> inputs = graph_.inputs();
    std::vector<Output> outputs;
    for (const Item& item : items_) {
      bool is_source = info(graph_.node(item.id).op).has(kSource);
      if (!(graph_.users(item.id).empty() && !is_source) && !random_.chance(8)) continue;
      const int64_t written = options_.entangled ? 60 : 25;
      Output output{item.id};
      for (size_t i = 0; i < inputs.size(); ++i) {
        bool is_written = std::any_of(outputs.begin(), outputs.end(), [&](const Output& o) {
          return o.mutated_input == static_cast<int>(i);
        });
        if (!is_source && !is_written && graph_.node(inputs[i]).type == item.type && random_.chance(written))
          output.mutated_input = static_cast<int>(i);
      }
      outputs.push_back(output);
    }
    if (outputs.empty()) outputs.push_back({items_.back().id});
    graph_.set_outputs(outputs);
  }
};

}  // namespace

Graph random_program(uint64_t seed, const ProgramOptions& options) {
  return Builder(seed, options).build();
}

}  // namespace peri::testing
