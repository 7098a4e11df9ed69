// The compilers of the kernel families. They get calls that are checked.
#pragma once

#include <memory>
#include <span>

#include "kernels/call.hpp"
#include "kernels/host/kernel.hpp"

namespace peri::host {

using Addresses = std::span<std::byte* const>;
using Compiled = Result<std::unique_ptr<Kernel>>;

Compiled compile_pointwise(const Call& call);  // a FusedProgram
Compiled compile_creation(const Call& call);   // full, arange, rand, randn
Compiled compile_reduction(const Call& call);  // sum, mean, prod, max, min
Compiled compile_position(const Call& call);   // argmax, argmin
Compiled compile_rows(const Call& call);       // softmax, rms_norm, layer_norm
Compiled compile_matmul(const Call& call);
Compiled compile_select(const Call& call);  // embedding, index_select
Compiled compile_index_copy(const Call& call);
Compiled compile_copy(const Call& call);  // contiguous, cat
Compiled compile_rope(const Call& call);
Compiled compile_attention(const Call& call);

}  // namespace peri::host
