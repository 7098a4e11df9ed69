// Symmetric memory on the host: one shared file per allocation, a block for each member, mapped by all of
// them.
#pragma once

#include <memory>
#include <string>

#include "kernels/host/symmetric/signal.hpp"
#include "kernels/os/shared_file.hpp"
#include "kernels/symmetric/symmetric_memory.hpp"

namespace peri::kernels::host {

// Collective: a shared file of `bytes`, made by the group's first member, sent to the others and mapped by
// all. It holds zeros. `bytes` follows from the operation's text, which is compared (RankMismatch).
Result<std::shared_ptr<os::Mapping>> share_memory(job::Control& control, const Group& group, Bytes bytes,
                                                  const job::Operation& operation);

// A member's view of one allocation, whose memory it has been promised.
class HostSymmetricMemory final : public SymmetricMemory {
 public:
  HostSymmetricMemory(GroupContext& context, std::shared_ptr<os::Mapping> mapping, Bytes bytes, uint64_t id);
  ~HostSymmetricMemory() override;

  std::byte* buffer(int member) const override { return mapping_->data() + stride_ * member; }
  bool has_multicast() const override { return true; }

  Status barrier(std::string_view op) override;
  Status put_signal(int member, int channel, std::string_view op, const Origin& origin) override;
  Status wait_signal(int member, int channel, std::string_view op, const Origin& origin) override;

 private:
  Status write(std::byte* to, const std::byte* source, Bytes bytes) override;
  Status fill(std::byte* to, uint32_t value, int64_t count) override;

  GroupContext& context_;
  std::shared_ptr<job::MemoryLedger> ledger_;
  std::shared_ptr<os::Mapping> mapping_;  // shared with ranks that are threads of this process
  Bytes stride_;
};

// Collective over the context's group.
Result<std::unique_ptr<SymmetricMemory>> make_symmetric_memory(GroupContext& context, Bytes bytes,
                                                               const job::Operation& operation);

}  // namespace peri::kernels::host
