// Which ops of the table tests go through.
#include "tests/support/random_program.hpp"

namespace peri::testing {

std::vector<Op> ops_of(Family family) {
  std::vector<Op> ops;
  for (int i = 0; i < kOpCount; ++i)
    if (info(static_cast<Op>(i)).family == family) ops.push_back(static_cast<Op>(i));
  return ops;
}
bool takes(DTypes dtypes, DType dtype) {
  switch (dtypes) {
    case DTypes::floats:
      return is_float(dtype);
    case DTypes::integers:
      return is_integer(dtype);
    case DTypes::numeric:
      return dtype != DType::boolean;
    case DTypes::any:
    case DTypes::mixed:
      return true;
  }
  return false;
}

std::vector<Op> ops_left_out() {
  // Composites are decomposed before they are added; a message needs a program per rank.
  std::vector<Op> ops = {Op::send, Op::recv};
  for (int i = 0; i < kOpCount; ++i)
    if (info(static_cast<Op>(i)).has(kComposite)) ops.push_back(static_cast<Op>(i));
  return ops;
}

}  // namespace peri::testing
