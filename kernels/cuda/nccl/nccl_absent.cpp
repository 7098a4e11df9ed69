// Takes the place of nccl.cpp and nccl_library.cpp where nccl.h was not found when this was built.
#include "kernels/cuda/nccl/nccl.hpp"

namespace peri::kernels::cuda {

Result<NcclLibrary> find_nccl() {
  return fail(Code::Unsupported, "NCCL is not built in: nccl.h was not found", {},
              "install NCCL's headers (libnccl-dev) and build again");
}

Result<std::unique_ptr<Nccl>> Nccl::create(job::Control&, Monitor&, std::shared_ptr<Device>) {
  return std::unexpected(find_nccl().error());
}

}  // namespace peri::kernels::cuda
