// Tensors as text, as Torch printed them: columns aligned, large ones summarised, and a footer that says what
// it is.
#pragma once

#include <string>

#include "core/error.hpp"
#include "kernels/tensor.hpp"

namespace peri::session {

// `t` is contiguous and its memory readable by the CPU. "f32[2,3]" and, if any, the count of NaNs and
// infinities in the footer.
std::string print_tensor(const kernels::Tensor& t, const std::string& note = {});

// One element, by position in row-major order; exact for every dtype but i64 beyond 2^53.
double read_element(const kernels::Tensor& t, int64_t index);
void write_element(const kernels::Tensor& t, int64_t index, double value);

}  // namespace peri::session
