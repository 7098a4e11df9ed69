// What the host backend computes with, as `peri doctor` says it.
#pragma once

#include <string>

namespace peri::kernels::host {

std::string instruction_set();  // "AVX-512", "AVX2" or "SSE2": the widest vectors that kernels use here
std::string matmul_library();   // "2.6.3"

}  // namespace peri::kernels::host
