// The values of a program under construction: those that are there, and new sources.
#pragma once

#include <algorithm>
#include <optional>

#include "core/ops/attributes_of.hpp"
#include "tests/support/random.hpp"
#include "tests/support/random_program.hpp"
#include "tests/support/value_range.hpp"

namespace peri::testing {

inline Ints to_ints(const Shape& shape) {
  return {shape.begin(), shape.end()};
}

class ProgramValues {
 protected:
  ProgramValues(uint64_t seed, const ProgramOptions& options)
      : random_(seed), options_(options), world_(world_group(options.world)) {}

  using Found = std::optional<Item>;

  // --- adding nodes ---

  // Adds a node if its result is tame and small.
  Found add(Op op, const std::vector<Item>& operands, Attributes attributes) {
    std::vector<TensorType> types;
    std::vector<NodeId> ids;
    for (const Item& item : operands) {
      types.push_back(item.type);
      ids.push_back(item.id);
    }
    Result<Attributes> completed = complete(op, attributes, types);
    PERI_CHECK(completed, "the generator gives valid attributes");
    if (info(op).has(kComposite)) return add_steps(op, operands, types, *completed);
    Result<TensorType> type = infer(op, types, *completed);
    PERI_CHECK(type, "the generator gives valid operands");
    if (numel(type->shape) > kMaxTensor) return std::nullopt;
    std::optional<Range> range = range_of(op, operands, *completed, *type);
    if (!range) return std::nullopt;
    Result<NodeId> id = graph_.add(op, ids, attributes, {"random.lua", graph_.size() + 1});
    PERI_CHECK(id, "infer has accepted it");
    Item item{*id, *type, *range, is_exact(op, operands, *type)};
    if (type->place == Place::device) items_.push_back(item);
    return item;
  }

  Found add_steps(Op op, const std::vector<Item>& operands, const std::vector<TensorType>& types,
                  const Attributes& attributes) {
    Result<std::vector<peri::Step>> steps = decompose(op, types, attributes);
    PERI_CHECK(steps, "the generator gives valid operands");
    std::vector<Item> values = operands;
    for (const peri::Step& step : *steps) {
      std::vector<Item> of_step;
      for (int i : step.operands) of_step.push_back(values[i]);
      Found value = add(step.op, of_step, step.attributes);
      if (!value) return std::nullopt;
      values.push_back(*value);
    }
    return values.back();
  }

  // Rounding to 16 bits may fall either way if there is an error before; whatever has no tolerance changes no
  // bit.
  static bool is_exact(Op op, const std::vector<Item>& operands, const TensorType& type) {
    if (!is_float(type.dtype) || info(op).has(kCreation)) return true;
    if (info(op).tolerance > 0 || (op == Op::cast && is_float(operands[0].type.dtype))) return false;
    return std::all_of(operands.begin(), operands.end(), [](const Item& item) { return item.exact; });
  }

  // --- choosing values ---

  DType random_dtype() {
    if (options_.entangled && random_.chance(90)) return DType::f32;
    int64_t percent = random_.below(100);
    if (percent < 50) return DType::f32;
    if (percent < 75) return percent < 62 ? DType::bf16 : DType::f16;
    if (percent < 90) return percent < 82 ? DType::i32 : DType::i64;
    return percent < 95 ? DType::u8 : DType::boolean;
  }
  DType random_float() { return random_.pick({DType::f32, DType::f32, DType::bf16, DType::f16}); }
  int64_t random_size() {
    return random_.pick<int64_t>({0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 12, 16, 17});
  }
  Shape random_shape(int least_rank = 0) {
    if (options_.entangled && random_.chance(90))
      return random_.pick<Shape>({{4, 4}, {4, 4}, {8, 4}, {2, 4, 4}});
    Shape shape;
    for (int64_t rank = random_.between(least_rank, std::max(least_rank, 3)); rank > 0; --rank) {
      int64_t size = random_size();
      shape.push_back(numel(shape) * size > kMaxTensor / 4 ? 1 : size);
    }
    return shape;
  }
  Attributes of_dim(const Item& x) {
    int64_t rank = x.type.shape.rank();
    return {{"dim", random_.between(-rank, rank - 1)}};
  }

  // A value that is there and suits, mostly a late one.
  template <class Suits>
  Found find(Suits suits) {
    std::vector<Item> candidates;
    for (const Item& item : items_)
      if (suits(item)) candidates.push_back(item);
    if (candidates.empty()) return std::nullopt;
    auto late = static_cast<int64_t>(std::min<size_t>(candidates.size(), 4));
    if (random_.chance(options_.entangled ? 30 : 60))
      return candidates[candidates.size() - 1 - static_cast<size_t>(random_.below(late))];
    return random_.pick(candidates);
  }
  // The same, or a new source of an allowed dtype.
  Item find_or_make(DTypes dtypes, int least_rank = 0) {
    Found found =
        find([&](const Item& x) { return takes(dtypes, x.type.dtype) && x.type.shape.rank() >= least_rank; });
    if (found && !random_.chance(5)) return *found;
    DType dtype = random_dtype();
    while (!takes(dtypes, dtype)) dtype = random_dtype();
    return source(dtype, random_shape(least_rank));
  }
  Item find_or_make(DType dtype, const Shape& shape) {
    Found found = find([&](const Item& x) { return x.type.dtype == dtype && x.type.shape == shape; });
    return found && random_.chance(65) ? *found : source(dtype, shape);
  }

  Item source(DType dtype, const Shape& shape) {
    PERI_CHECK(numel(shape) <= kMaxTensor, "a source is small");
    Attributes attributes{{"shape", to_ints(shape)}, {"dtype", dtype}};
    int64_t kind = random_.below(is_float(dtype) ? 10 : 7);
    if (kind < 6) {
      Op op = kind < 4 ? Op::input : Op::constant;
      int64_t& index = op == Op::input ? inputs_ : constants_;
      attributes.set("index", index++);
      return *add(op, {}, attributes);
    }
    if (kind == 6) {
      attributes.set("value", dtype == DType::u8 || dtype == DType::boolean
                                  ? static_cast<double>(random_.below(2))
                                  : static_cast<double>(random_.between(-8, 8)) / (is_float(dtype) ? 4 : 1));
      return *add(Op::full, {}, attributes);
    }
    attributes.set("seed", random_.below(1000));
    return *add(kind == 7 ? Op::rand : Op::randn, {}, attributes);
  }
  Item full(DType dtype, double value) {
    return *add(Op::full, {},
                {{"shape", random_.chance(50) ? Ints{} : Ints{1}}, {"value", value}, {"dtype", dtype}});
  }

  // A shape that broadcasts to `shape`: leading dimensions left out, some of size 1.
  Shape broadcastable(const Shape& shape) {
    Shape result;
    for (int d = random_.chance(40) ? static_cast<int>(random_.below(shape.rank() + 1)) : 0; d < shape.rank();
         ++d)
      result.push_back(random_.chance(25) ? 1 : shape[d]);
    return result;
  }
  Item partner(const Item& x) {
    Found found = find([&](const Item& y) {
      if (y.type.dtype != x.type.dtype) return false;
      Result<Shape> shape = peri::broadcast(x.type.shape, y.type.shape);
      return shape && numel(*shape) <= kMaxTensor;
    });
    return found && random_.chance(65) ? *found : source(x.type.dtype, broadcastable(x.type.shape));
  }
  // x squashed into [0.5, 1.5]: fit for a logarithm, a root, a divisor, a base.
  Found positive(const Item& x) {
    Found squashed = add(Op::sigmoid, {x}, {});
    return squashed ? add(Op::add, {*squashed, full(x.type.dtype, 0.5)}, {}) : std::nullopt;
  }
  // `count` positions below `size`, all different if `distinct` (then count <= size).
  Item positions(int64_t count, int64_t size, bool distinct) {
    DType dtype = random_.pick({DType::i32, DType::i64});
    Item any =
        distinct || random_.chance(40)
            ? *add(Op::arange, {},
                   {{"count", count}, {"start", static_cast<double>(random_.below(5))}, {"dtype", dtype}})
            : source(dtype, {count});
    return *add(Op::mod, {any, full(dtype, static_cast<double>(size))}, {});
  }

  Random random_;
  ProgramOptions options_;
  Group world_;
  Graph graph_;
  std::vector<Item> items_;
  int64_t inputs_ = 0, constants_ = 0;
};

}  // namespace peri::testing
