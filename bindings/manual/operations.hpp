// What the manual and the editor stubs say of ops, from the op table.
#pragma once

#include <string>
#include <vector>

#include "bindings/manual/pages.hpp"
#include "core/ops/collective.hpp"
#include "core/ops/op.hpp"

namespace peri::manual {

// The type of an argument of this kind, as lua-language-server writes it.
const char* type_of(Kind kind);

// Tensors that the op takes: a, b, ... A variadic op takes one table of them.
std::vector<Row> operands_of(const OpInfo& row);
// What else it takes, with what each kind of argument means.
std::vector<Row> attributes_of(const OpInfo& row);

bool is_method(const OpInfo& row);
// Other names of its method, such as mm.
std::vector<std::string> aliases_of(const OpInfo& row);

// The functions peri.symm.NAME that an algorithm has: "_out" writes its last argument, "_" works in place,
// "_copy" copies its operand into a symmetric buffer first.
std::vector<std::string> forms_of(const AlgorithmInfo& algorithm);
std::string symm_name(const AlgorithmInfo& algorithm);

}  // namespace peri::manual
