// Random graphs from the op table: any op, random arguments, and what its rule refuses is not added.
#pragma once

#include <cmath>
#include <limits>
#include <random>

#include "core/graph/graph.hpp"

namespace peri {

class GraphGenerator {
 public:
  explicit GraphGenerator(uint32_t seed) : random_(seed) {}

  Graph make(int nodes) {
    Graph graph;
    int inputs = 0, constants = 0;
    for (int tries = 0; graph.size() < nodes && tries < 50 * nodes; ++tries) {
      // One in four is a source, or few operands would ever fit together.
      Op op = graph.size() == 0 || below(4) == 0 ? (below(3) ? Op::input : Op::constant)
                                                 : static_cast<Op>(below(kOpCount));
      const OpInfo& row = info(op);
      if (row.has(kComposite) || (row.min_operands > 0 && graph.size() == 0)) continue;
      const int most = row.max_operands < 0 ? row.min_operands + 3 : row.max_operands;
      std::vector<NodeId> operands;
      const NodeId first(graph.size() > 0 ? below(graph.size()) : 0);
      const int count = row.min_operands + below(most - row.min_operands + 1);
      for (int i = 0; i < count; ++i)
        operands.push_back(i == 0 || below(2) ? first : NodeId(below(graph.size())));
      Attributes attributes;
      for (const AttributeInfo& attribute : row.attributes)
        if (!attribute.fallback || below(2)) attributes.set(attribute.name, value(attribute.kind));
      std::string name;
      Allocator allocator;
      if (row.has(kSource)) {
        attributes.set("index", int64_t{op == Op::input ? inputs : constants});
        if (below(2)) name = text();
        if (below(4) == 0) allocator = SymmetricAllocator{group()};
      }
      const Result<NodeId> added = graph.add(op, operands, attributes, origin(), name, allocator);
      if (added && row.has(kSource)) ++(op == Op::input ? inputs : constants);
      if (added) graph.add_further_results(*added);
    }
    std::vector<Output> outputs;
    for (int i = below(4); i > 0; --i)
      outputs.push_back({NodeId(below(graph.size())), below(3) ? -1 : below(4)});
    graph.set_outputs(outputs);
    return graph;
  }

  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

 private:
  Origin origin() { return below(4) == 0 ? Origin{} : Origin{below(4) ? "model.lua" : text(), below(1000)}; }

  Group group() {
    Group all = world_group(4);
    std::shuffle(all.ranks.begin(), all.ranks.end(), random_);
    all.ranks.resize(static_cast<size_t>(1 + below(4)));
    return all;
  }

  // Any bytes, the awkward ones often.
  std::string text() {
    static constexpr char kAwkward[] = "\"\\\n\t @:,()%x\x01\xC3\xA4";
    std::string result;
    for (int i = below(8); i > 0; --i)
      result += below(2) ? kAwkward[below(sizeof(kAwkward))] : static_cast<char>(below(256));
    return result;
  }

  double number() {
    static constexpr double kSpecial[] = {
        0.0, -0.0, 1.0, 0.1, INFINITY, -INFINITY, NAN, 5e-324, 1.7976931348623157e308};
    if (below(2)) return kSpecial[below(9)];
    return std::bit_cast<double>(static_cast<uint64_t>(random_()) << 32 | random_());
  }

  Ints ints(int least, int most) {
    Ints result(static_cast<size_t>(below(4)));
    for (int64_t& i : result) i = least + below(most - least + 1);
    return result;
  }

  // Mostly equal sizes, so that operands fit together.
  Ints sizes() {
    static constexpr int64_t kSizes[] = {2, 2, 2, 2, 4, 1, 3, 0};
    Ints result(static_cast<size_t>(below(4)));
    for (int64_t& size : result) size = kSizes[below(8)];
    return result;
  }

  AttributeValue value(Kind kind) {
    switch (kind) {
      case Kind::boolean:
        return below(2) == 1;
      case Kind::integer:
        return int64_t{below(6)} - 1;
      case Kind::number:
        return number();
      case Kind::string:
        return std::string(below(2) ? "" : "one_shot");
      case Kind::ints:
        return ints(-1, 9);
      case Kind::shape:
        return ints(0, 4);
      case Kind::dim:
      case Kind::index:
        return int64_t{below(5)} - 2;
      case Kind::dims:
        return ints(-2, 2);
      case Kind::dtype:
        return below(2) ? DType::f32 : below(2) ? DType::i64 : static_cast<DType>(below(kDTypeCount));
      case Kind::place:
        return below(8) ? Place::device : Place::host;
      case Kind::group:
        return group();
      case Kind::reduce:
        return std::string(to_string(static_cast<Reduce>(below(5))));
    }
    return false;
  }

  std::mt19937 random_;
};

}  // namespace peri
