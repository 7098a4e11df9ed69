// See describe.hpp.
#include "kernels/host/describe.hpp"

#include <dnnl.h>
#include <fmt/format.h>

#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {

std::string instruction_set() {
  switch (isa()) {
    case Isa::avx512:
      return "AVX-512";
    case Isa::avx2:
      return "AVX2";
    case Isa::baseline:
      return "SSE2";
  }
  return "";
}

std::string matmul_library() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("{}.{}.{}", v->major, v->minor, v->patch);
}

}  // namespace peri::kernels::host
