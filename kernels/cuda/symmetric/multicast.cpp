#include "kernels/cuda/symmetric/multicast.hpp"

#include <fmt/format.h>

#include "core/bytes.hpp"
#include "core/env.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr unsigned kVersion = 12010;  // multicast objects exist since CUDA 12.1

// The driver's functions for an object that exists. Nullptr where the driver has none of them; the one that
// makes an object is looked up where it is called, and nowhere else.
struct MulticastDriver {
  decltype(&cuMulticastGetGranularity) granularity = reinterpret_cast<decltype(&cuMulticastGetGranularity)>(
      driver_function("cuMulticastGetGranularity", kVersion));
  decltype(&cuMulticastAddDevice) add_device =
      reinterpret_cast<decltype(&cuMulticastAddDevice)>(driver_function("cuMulticastAddDevice", kVersion));
  decltype(&cuMulticastBindMem) bind =
      reinterpret_cast<decltype(&cuMulticastBindMem)>(driver_function("cuMulticastBindMem", kVersion));
  decltype(&cuMulticastUnbind) unbind =
      reinterpret_cast<decltype(&cuMulticastUnbind)>(driver_function("cuMulticastUnbind", kVersion));
  bool complete() const { return granularity && add_device && bind && unbind; }
};
const MulticastDriver& multicast_driver() {
  static const MulticastDriver instance;
  return instance;
}

CUmulticastObjectProp properties(int members, int64_t bytes) {
  CUmulticastObjectProp p{};
  p.numDevices = static_cast<unsigned>(members);
  p.size = static_cast<size_t>(bytes);
  p.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  return p;
}

// The only function that creates a multicast object; tests/house sees to that, and that the gate is the first
// thing it asks, whoever calls it.
Result<CUmemGenericAllocationHandle> create_object(int gpu, const CUmulticastObjectProp& wanted) {
  PERI_TRY(check_multicast(gpu));
  const auto create =
      reinterpret_cast<decltype(&cuMulticastCreate)>(driver_function("cuMulticastCreate", kVersion));
  if (!create) return fail(Code::Unsupported, "the driver knows no multicast objects");
  CUmemGenericAllocationHandle handle = 0;
  PERI_TRY(check(create(&handle, &wanted), "a multicast object"));
  return handle;
}

int64_t rounded(int64_t bytes, int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

CUdeviceptr pointer(const std::byte* address) {
  return reinterpret_cast<CUdeviceptr>(address);
}

}  // namespace

Status check_multicast(int gpu) {
  if (const std::string refusal = environment().multicast_refusal(); !refusal.empty())
    return fail(Code::Unsupported, refusal);
  int supported = 0;
  if (!driver().attribute ||
      driver().attribute(&supported, CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED, gpu) != CUDA_SUCCESS ||
      supported == 0)
    return fail(Code::Unsupported, fmt::format("GPU {} has no multicast", gpu));
  return {};
}

// Before an object is made for a growth: whether the blocks' unit suits the driver, and the addresses.
Status Multicast::check_sizes(const SharedBlocks::Growth& growth) {
  PERI_TRY(check_multicast(device_->index()));
  if (!multicast_driver().complete()) return fail(Code::Unsupported, "the driver knows no multicast objects");
  const CUmulticastObjectProp p = properties(group_.size(), growth.bytes);
  size_t least = 0, recommended = 0;
  PERI_TRY(check(multicast_driver().granularity(&least, &p, CU_MULTICAST_GRANULARITY_MINIMUM),
                 "granularity of multicast"));
  PERI_TRY(check(multicast_driver().granularity(&recommended, &p, CU_MULTICAST_GRANULARITY_RECOMMENDED),
                 "granularity of multicast"));
  const auto unit = static_cast<int64_t>(least);
  if (growth.offset % unit != 0 || growth.bytes % unit != 0)
    return fail(Code::Unsupported,
                fmt::format("{} of symmetric memory are not whole units of {}",
                            describe_bytes(Bytes(growth.bytes)), describe_bytes(Bytes(unit))));
  recommended_ = static_cast<int64_t>(recommended);
  if (data_) return {};
  const int64_t bytes = rounded(most_, recommended_);
  CUdeviceptr range = 0;
  PERI_TRY(check(driver().reserve(&range, static_cast<size_t>(bytes), recommended, 0, 0),
                 "address space of multicast"));
  data_ = reinterpret_cast<std::byte*>(range);
  reserved_ = bytes;
  return {};
}

// Every member's GPU has been added, without which both calls would block.
Status Multicast::bind_and_map(Object& object, CUmemGenericAllocationHandle memory) {
  const auto bytes = static_cast<size_t>(object.bytes);
  PERI_TRY(check(multicast_driver().bind(object.handle, 0, memory, 0, bytes, 0),
                 "binding memory to a multicast object"));
  object.bound = true;
  const CUdeviceptr at = pointer(data_ + object.offset);
  PERI_TRY(check(driver().map(at, bytes, 0, object.handle, 0), "mapping a multicast object"));
  object.mapped = true;
  const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, device_->index()},
                               CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  return check(driver().set_access(at, bytes, &access, 1), "reaching a multicast object");
}

// In the reverse order of its making.
void Multicast::drop(int gpu, std::byte* data, const Object& object) {
  const auto bytes = static_cast<size_t>(object.bytes);
  if (object.mapped) driver().unmap(pointer(data + object.offset), bytes);
  if (object.bound) multicast_driver().unbind(object.handle, gpu, 0, bytes);
  if (object.handle) driver().release(object.handle);
}

// Three steps, after each of which the members tell each other how it went: (1) member 0 makes the object;
// (2) the others get it, and all add their GPUs; (3) all bind their memory and map the object. Nobody begins
// a step before all have done the last, and nobody goes on where one has failed. The text is the refusal.
Result<std::string> Multicast::try_extend(job::Control& control, const SharedBlocks::Growth& growth,
                                          Object& object, const job::Operation& operation) {
  const bool makes = group_.index_of(control.rank()) == 0;
  os::Fd file;
  auto make = [&]() -> Status {
    PERI_TRY(check_sizes(growth));
    if (!makes) return {};
    // An object's size is a matter of addresses: what is bound is the growth.
    object.handle = PERI_TRY(
        create_object(device_->index(), properties(group_.size(), rounded(growth.bytes, recommended_))));
    file = PERI_TRY(export_memory(object.handle));
    return {};
  };
  if (std::string refusal = PERI_TRY(job::first_failure(control, group_, make(), operation));
      !refusal.empty())
    return refusal;

  const job::MessageKey key = control.next_key(job::tag_of(group_, "multicast object"));
  if (makes) {
    for (int peer : group_.ranks)
      if (peer != control.rank()) PERI_TRY(control.send(peer, key, "", &file, operation));
  } else {
    job::Message message = PERI_TRY(control.receive(group_.ranks.front(), key, operation));
    file = std::move(message.file);
  }
  auto add = [&]() -> Status {
    if (!makes) object.handle = PERI_TRY(import_memory(file));
    return check(multicast_driver().add_device(object.handle, device_->index()),
                 "adding a GPU to a multicast object");
  };
  if (std::string refusal = PERI_TRY(job::first_failure(control, group_, add(), operation)); !refusal.empty())
    return refusal;

  return job::first_failure(control, group_, bind_and_map(object, growth.memory), operation);
}

Status Multicast::extend(job::Control& control, const SharedBlocks::Growth& growth,
                         const job::Operation& operation) {
  if (!refusal_.empty()) return {};
  Object object{.offset = growth.offset, .bytes = growth.bytes};
  Result<std::string> outcome = try_extend(control, growth, object, operation);
  if (outcome && outcome->empty()) {
    objects_.push_back(object);
    covered_ = growth.offset + growth.bytes;
    return {};
  }
  drop(device_->index(), data_, object);  // nothing has used it
  refusal_ = outcome ? *outcome : outcome.error().message;
  return outcome ? Status{} : std::unexpected(std::move(outcome).error());
}

// Kernels in the stream may still use the addresses. Peers' kernels do not: every collective that goes
// through multicast ends on all members only after the last of them has done with it
// (collective_multimem.cu). The memory itself is released after this, by the blocks.
Multicast::~Multicast() {
  device_->retire(
      [gpu = device_->index(), data = data_, reserved = reserved_, objects = std::move(objects_)] {
        for (const Object& object : objects) drop(gpu, data, object);
        if (data) driver().free_address(pointer(data), static_cast<size_t>(reserved));
      });
}

}  // namespace peri::kernels::cuda
