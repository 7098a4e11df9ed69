#include "kernels/host/symmetric/symmetric_memory.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/host/collectives/collective_copy.hpp"

namespace peri::kernels::host {
namespace {

constexpr Bytes kPage(4096);

Bytes stride_of(Bytes bytes) {
  return std::max(rounded_up(bytes, kPage), kPage);
}

// Takes this rank's equal share of the file. It does so itself so that the pages lie in memory near to it.
Result<std::shared_ptr<os::Mapping>> map_and_reserve(const os::Fd& file, Bytes share, int index) {
  std::shared_ptr<os::Mapping> mapping = PERI_TRY(os::Mapping::of_file(file));
  PERI_TRY(os::reserve(file, share * index, std::clamp(mapping->bytes() - share * index, Bytes(), share)));
  return mapping;
}

}  // namespace

Result<std::shared_ptr<os::Mapping>> share_memory(job::Control& control, const Group& group, Bytes bytes,
                                                  const job::Operation& operation) {
  const int members = group.size();
  const int index = group.index_of(control.rank());
  // The first member makes the file. Where it cannot, everybody learns it from a message without a file.
  const job::MessageKey key = control.next_key(job::tag_of(group, "file"));
  os::Fd file;
  if (index == 0) {
    Result<os::Fd> made = os::create_shared_file(bytes);
    for (int peer : group.ranks)
      if (peer != control.rank())
        PERI_TRY(
            control.send(peer, key, made ? "" : made.error().message, made ? &*made : nullptr, operation));
    file = PERI_TRY(std::move(made));
  } else {
    job::Message message = PERI_TRY(control.receive(group.ranks[0], key, operation));
    if (!message.file.valid()) return operation.fail(Code::OutOfMemory, message.text);
    file = std::move(message.file);
  }
  const Bytes share = rounded_up(bytes / members, kPage);
  Result<std::shared_ptr<os::Mapping>> mapping = map_and_reserve(file, share, index);
  PERI_TRY(job::agree(control, group, mapping ? Status() : std::unexpected(mapping.error()), operation));
  return mapping;
}

HostSymmetricMemory::HostSymmetricMemory(GroupContext& context, std::shared_ptr<os::Mapping> mapping,
                                         Bytes bytes, uint64_t id)
    : SymmetricMemory(context.group(), context.index(), bytes, id),
      context_(context),
      ledger_(context.control().ledger()),
      mapping_(std::move(mapping)),
      stride_(stride_of(bytes)) {}

HostSymmetricMemory::~HostSymmetricMemory() {
  job::release_memory(*ledger_, stride_);
}

Status HostSymmetricMemory::barrier(std::string_view op) {
  job::Operation operation(fmt::format("{} over {}", op, group().to_string()), {});
  context_.control().enter(operation);
  PERI_TRY(context_.ensure(operation));
  return context_.synchronize(job::tag_of(group(), "barrier of symmetric memory"), operation);
}

Status HostSymmetricMemory::put_signal(int member, int channel, std::string_view op, const Origin& origin) {
  job::Operation operation(fmt::format("{} over {}", op, group().to_string()), origin);
  context_.control().enter(operation);
  return context_.put_signal(member, channel, operation);
}

Status HostSymmetricMemory::wait_signal(int member, int channel, std::string_view op, const Origin& origin) {
  job::Operation operation(fmt::format("{} over {}", op, group().to_string()), origin);
  context_.control().enter(operation);
  return context_.wait_signal(member, channel, operation);
}

Status HostSymmetricMemory::write(std::byte* to, const std::byte* source, Bytes bytes) {
  copy_bytes(to, source, bytes.count());
  return {};
}

Status HostSymmetricMemory::fill(std::byte* to, uint32_t value, int64_t count) {
  std::fill_n(reinterpret_cast<uint32_t*>(to), count, value);
  return {};
}

Result<std::unique_ptr<SymmetricMemory>> make_symmetric_memory(GroupContext& context, Bytes bytes,
                                                               const job::Operation& operation) {
  job::Control& control = context.control();
  job::MemoryLedger& ledger = *control.ledger();
  PERI_TRY(context.ensure(operation));  // so that signals need not, which are not collective
  Status promised = job::promise_memory(ledger, stride_of(bytes), "symmetric");
  Status agreed = job::agree(control, context.group(), promised, operation);
  Result<std::shared_ptr<os::Mapping>> mapping =
      agreed ? share_memory(control, context.group(), stride_of(bytes) * context.size(), operation)
             : std::unexpected(agreed.error());
  if (!mapping) {
    if (promised) job::release_memory(ledger, stride_of(bytes));
    return std::unexpected(mapping.error());
  }
  uint64_t id = job::next_allocation(control, context.group());
  return std::make_unique<HostSymmetricMemory>(context, std::move(*mapping), bytes, id);
}

}  // namespace peri::kernels::host
