// What random programs are run on.
#include "tests/support/random.hpp"
#include "tests/support/random_program.hpp"
#include "tests/support/value_range.hpp"

namespace peri::testing {

Arguments random_arguments(const Graph& graph, uint64_t seed, int rank) {
  Random random(seed * 1000003 + static_cast<uint64_t>(rank));
  auto value_of = [&](NodeId id) {
    Value value = zeros(graph.node(id).type);
    DType dtype = value.type.dtype;
    Range range = argument_range(dtype);
    if (is_float(dtype)) {
      for (double& x : std::get<Value::Floats>(value.elements))
        x = store(dtype, range.low + (range.high - range.low) * random.unit());
    } else {
      for (int64_t& x : std::get<Value::Integers>(value.elements))
        x = random.between(static_cast<int64_t>(range.low), static_cast<int64_t>(range.high));
    }
    return value;
  };
  Arguments arguments;
  for (NodeId id : graph.inputs()) arguments.inputs.push_back(value_of(id));
  for (NodeId id : graph.constants()) arguments.constants.push_back(value_of(id));
  return arguments;
}

}  // namespace peri::testing
