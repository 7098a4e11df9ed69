// Finding NCCL.
#include <catch2/catch.hpp>

#include <filesystem>

#include "kernels/cuda/nccl/nccl.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::kernels::cuda;

TEST_CASE("NCCL is found, or the reason says what is missing") {
  const Result<cuda::NcclLibrary> nccl = cuda::find_nccl();
  if (nccl) {
    CHECK(nccl->version.starts_with("2."));
    CHECK(std::filesystem::exists(nccl->path));
  } else {
    CHECK(nccl.error().code == Code::Unsupported);
    CHECK(nccl.error().message.find("NCCL") != std::string::npos);
  }
}
