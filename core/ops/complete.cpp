// From the arguments a caller gives to the attributes a node keeps: all of them, in declared order, with
// nothing relative left but a -1 inside a shape. Apart from op.cpp because it is about one call, not about
// the table.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "core/ops/shape_rules.hpp"

namespace peri {

namespace {

bool has_kind(Kind kind, const AttributeValue& value) {
  switch (kind) {
    case Kind::boolean:
      return std::holds_alternative<bool>(value);
    case Kind::integer:
    case Kind::dim:
    case Kind::index:
      return std::holds_alternative<int64_t>(value);
    case Kind::number:
      return std::holds_alternative<double>(value);
    case Kind::string:
      return std::holds_alternative<std::string>(value);
    case Kind::ints:
    case Kind::shape:
    case Kind::dims:
      return std::holds_alternative<Ints>(value);
    case Kind::dtype:
      return std::holds_alternative<DType>(value);
    case Kind::place:
      return std::holds_alternative<Place>(value);
    case Kind::group:
      return std::holds_alternative<Group>(value);
    case Kind::reduce:
      return std::holds_alternative<std::string>(value) &&
             parse_reduce(std::get<std::string>(value)).has_value();
  }
  return false;
}

// Counts a negative `dim` from the end of `rank` dimensions.
Result<int64_t> resolve_dim(std::string_view name, int64_t dim, int rank) {
  if (dim >= rank || dim < -rank)
    return fail(Code::InvalidArgument,
                fmt::format("{} {} is out of range: there {} {} dimension{}", name, dim < 0 ? dim : dim + 1,
                            rank == 1 ? "is" : "are", rank, rank == 1 ? "" : "s"),
                {}, "dimensions count from 1, or from -1 at the last");
  return dim < 0 ? dim + rank : dim;
}

Status check_names(const OpInfo& row, const Attributes& given) {
  for (const auto& [name, value] : given.items()) {
    std::vector<std::string> declared;
    bool known = false;
    for (const AttributeInfo& attribute : row.attributes) {
      declared.push_back(attribute.name);
      known = known || attribute.name == name;
    }
    if (known) continue;
    std::optional<std::string> near = nearest(name, declared);
    return fail(Code::NotFound, fmt::format("no argument named {}", name), {},
                near               ? fmt::format("did you mean {}?", *near)
                : declared.empty() ? "it takes no named arguments"
                                   : fmt::format("it takes {}", fmt::join(declared, ", ")));
  }
  return {};
}

}  // namespace

Result<Attributes> complete(Op op, const Attributes& given, std::span<const TensorType> operands) {
  const OpInfo& row = info(op);
  PERI_TRY(shape_rules::check_count(row, operands.size()));  // names of dimensions refer to operands
  PERI_TRY(check_names(row, given));
  int rank = operands.empty() ? 0 : operands[0].shape.rank();
  if (op == Op::stack) ++rank;  // its dimension is one of the result's
  Attributes completed;
  for (const AttributeInfo& attribute : row.attributes) {
    const AttributeValue* found = given.find(attribute.name);
    if (!found && attribute.fallback) found = &*attribute.fallback;
    if (!found) return fail(Code::InvalidArgument, fmt::format("argument {} is missing", attribute.name));
    AttributeValue value = *found;
    if (const int64_t* whole = std::get_if<int64_t>(&value); whole && attribute.kind == Kind::number)
      value = static_cast<double>(*whole);
    if (!has_kind(attribute.kind, value))
      return fail(Code::InvalidArgument, fmt::format("argument {} must be {}, got {}", attribute.name,
                                                     to_string(attribute.kind), to_string(value)));
    if (attribute.kind == Kind::dim)
      value = PERI_TRY(resolve_dim(attribute.name, std::get<int64_t>(value), rank));
    if (attribute.kind == Kind::dims)
      for (int64_t& dim : std::get<Ints>(value)) dim = PERI_TRY(resolve_dim("dim", dim, rank));
    completed.set(attribute.name, std::move(value));
  }
  if (op == Op::slice) {
    auto slice = completed.as<Op::slice>();
    const int64_t size = operands[0].shape[slice.dim];
    if (slice.start < 0) slice.start += size;
    if (slice.stop < 0) slice.stop += size + 1;
    return slice;
  }
  return completed;
}

}  // namespace peri
