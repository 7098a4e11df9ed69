// See positions.hpp.
#include "core/ops/positions.hpp"

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "core/ops/families.hpp"

namespace peri {
namespace {

// A place in row-major order, as scripts write it: "3", "{1, 3}".
std::string place_of(int64_t index, const Shape& shape) {
  std::string text;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    text = fmt::format("{}{}{}", index % shape[i] + 1, text.empty() ? "" : ", ", text);
    index /= shape[i];
  }
  return shape.rank() == 1 ? text : fmt::format("{{{}}}", text);
}

template <class T>
Status check_values(const Positions& positions, const T* values, const Shape& shape, int64_t size) {
  const int64_t count = numel(shape);
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] >= 0 && values[i] < size) continue;
    return fail(
        Code::InvalidArgument,
        fmt::format("{} holds {} at {}, but dim {} of {} has the size {}", operand_name(positions.operand),
                    values[i], place_of(i, shape), positions.dim + 1, operand_name(positions.of), size),
        {}, "positions and ids in tensors count from 0");
  }
  return {};
}

}  // namespace

std::optional<Positions> positions_of(Op op, const Attributes& attributes, size_t operands) {
  if (op == Op::attention) return operands == 4 ? std::optional(Positions{3, 1, 0}) : std::nullopt;
  if (info(op).family == Family::scatter) return Positions{1, 0, attributes.get<"dim">()};
  if (info(op).family != Family::gather) return std::nullopt;
  switch (op_of<GatherOp>(op)) {
    case GatherOp::embedding:
      return Positions{0, 1, 0};
    case GatherOp::index_select:
    case GatherOp::gather:
      return Positions{1, 0, attributes.get<"dim">()};
  }
  return std::nullopt;
}

Status check_positions(const Positions& positions, const std::byte* values, const TensorType& type,
                       int64_t size) {
  if (type.dtype == DType::i64)
    return check_values(positions, reinterpret_cast<const int64_t*>(values), type.shape, size);
  return check_values(positions, reinterpret_cast<const int32_t*>(values), type.shape, size);
}

}  // namespace peri
