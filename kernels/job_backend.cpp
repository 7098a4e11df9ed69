#include "kernels/job_backend.hpp"

#include <fmt/format.h>

#include <limits>

#include "kernels/collectives/collective_call.hpp"

namespace peri::kernels {

Status JobBackend::check_usable() const {
  if (control_->has_left()) return fail(Code::InvalidArgument, "this rank has left the job");
  return {};
}

Result<std::shared_ptr<Storage>> JobBackend::allocate_symmetric(Bytes bytes, const Group& group) {
  PERI_TRY(check_usable());
  PERI_TRY(check_group(group, job().rank, job().world_size));
  const job::Operation operation(
      fmt::format("allocate_symmetric of {} bytes over {}", bytes.count(), group.to_string()), {});
  control_->enter(operation);
  if (bytes < Bytes() || bytes > Bytes(std::numeric_limits<int64_t>::max() / (2 * group.size())))
    return operation.fail(Code::InvalidArgument, fmt::format("an allocation of {} bytes", bytes.count()));
  return symmetric_storage(PERI_TRY(make_symmetric_memory(bytes, group, operation)), blocks_);
}

const Group* JobBackend::symmetric_group(const std::byte* address) const {
  const SymmetricMemory* memory = blocks_->find(address);
  return memory ? &memory->group() : nullptr;
}

Result<std::vector<std::string>> JobBackend::exchange(const Group& group, const std::string& text,
                                                      const std::string& what) {
  PERI_TRY(check_usable());
  PERI_TRY(check_group(group, job().rank, job().world_size));
  PERI_TRY(synchronize());
  const job::Operation operation(what, {});
  control_->enter(operation);
  return control_->exchange(group, text, operation);
}

Status JobBackend::recover() {
  PERI_TRY(JobBackend::check_usable());
  return begin_generation();
}

}  // namespace peri::kernels
