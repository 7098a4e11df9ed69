// What every kernel starts from: elements in memory and in registers, iteration spaces, and addresses. The
// device's side of source.hpp; all fields of what the host passes are 8 bytes wide.
#pragma once

#include "core/types/scalar.hpp"

namespace peri::kernels::cuda {

using std::byte;

// A dtype's element in memory and its register: floats compute as float, integers and bools as int64_t.
// Conversions of 16-bit floats are the hardware's, to nearest even; a NaN becomes the canonical one.
struct f32 {
  using Memory = float;
  using Register = float;
  static float load(float m) { return m; }
  static float store(float r) { return r; }
  static constexpr uint32_t missing = 0x7FC00000u;
};
struct f16 {
  using Memory = uint16_t;
  using Register = float;
  static float load(uint16_t m) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(m));
    return r;
  }
  static uint16_t store(float r) {
    uint16_t m;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(m) : "f"(r));
    return m;
  }
};
struct bf16 {
  using Memory = uint16_t;
  using Register = float;
  static float load(uint16_t m) { return std::bit_cast<float>(static_cast<uint32_t>(m) << 16); }
  static uint16_t store(float r) {
    uint16_t m;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(m) : "f"(r));
    return m;
  }
};
template <class Integer>
struct IntegerElement {
  using Memory = Integer;
  using Register = int64_t;
  static int64_t load(Integer m) { return m; }
  static Integer store(int64_t r) { return static_cast<Integer>(r); }
};
struct i32 : IntegerElement<int32_t> {};
struct i64 : IntegerElement<int64_t> {};
struct u8 : IntegerElement<uint8_t> {};
struct boolean : IntegerElement<uint8_t> {
  static int64_t load(uint8_t m) { return m != 0; }  // any byte but 0 is true
  static uint8_t store(int64_t r) { return r != 0; }
};

template <class E>
using Register = typename E::Register;
template <class E>
using Memory = typename E::Memory;
template <class E>
inline constexpr bool kIsFloat = std::is_same_v<Register<E>, float>;

// What a register of E becomes when it is stored and loaded back.
template <class E>
Register<E> round_to(Register<E> r) {
  return E::load(E::store(r));
}
// The table's cast, between registers.
template <class To, class From>
Register<To> cast(From r) {
  if constexpr (std::is_same_v<To, boolean>)
    return scalar::convert<bool>(r);
  else if constexpr (kIsFloat<To>)
    return round_to<To>(scalar::convert<float>(r));
  else
    return scalar::convert<Memory<To>>(r);
}

template <class E>
Register<E> load(const byte* memory, int64_t offset) {
  return E::load(reinterpret_cast<const Memory<E>*>(memory)[offset]);
}
template <class E>
void store(byte* memory, int64_t offset, Register<E> r) {
  reinterpret_cast<Memory<E>*>(memory)[offset] = E::store(r);
}

// `count` elements of E side by side, moved in accesses of up to 16 bytes.
template <class E, int count>
struct Pack {
  static constexpr int kBytes = sizeof(Memory<E>) * count;
  static constexpr int kAccess = kBytes < 16 ? kBytes : 16;
  struct alignas(kAccess) Access {
    Memory<E> elements[kAccess / sizeof(Memory<E>)];
  };
  static constexpr int kAccesses = kBytes / kAccess, kPerAccess = count / kAccesses;
  Access accesses[kAccesses];

  void read(const byte* memory, int64_t offset) {
    auto* from = reinterpret_cast<const Access*>(reinterpret_cast<const Memory<E>*>(memory) + offset);
    for (int i = 0; i < kAccesses; ++i) accesses[i] = from[i];
  }
  void write(byte* memory, int64_t offset) const {
    auto* to = reinterpret_cast<Access*>(reinterpret_cast<Memory<E>*>(memory) + offset);
    for (int i = 0; i < kAccesses; ++i) to[i] = accesses[i];
  }
  // One element repeated has a pack of one.
  Register<E> get(int i) const {
    return E::load(count == 1 ? accesses[0].elements[0] : accesses[i / kPerAccess].elements[i % kPerAccess]);
  }
  void set(int i, Register<E> r) { accesses[i / kPerAccess].elements[i % kPerAccess] = E::store(r); }
};

template <int count>
struct AddressArray {
  byte* at[count];
};

// An iteration space as source.cpp's `append` lays it out.
template <int operands, int rank>
struct Space {
  int64_t total;
  int64_t shape[rank];
  int64_t strides[operands][rank];

  // Where element `index` of each operand lies, in elements. Index is wide enough for `total`.
  template <class Index>
  void locate(Index index, int64_t (&offsets)[operands]) const {
    for (int n = 0; n < operands; ++n) offsets[n] = 0;
#pragma unroll
    for (int d = rank - 1; d >= 0; --d) {
      Index at = index;
      if (d > 0) {
        index = at / static_cast<Index>(shape[d]);
        at -= index * static_cast<Index>(shape[d]);
      }
#pragma unroll
      for (int n = 0; n < operands; ++n) offsets[n] += static_cast<int64_t>(at) * strides[n][d];
    }
  }
};

// What every generated kernel does first (kernel.cpp puts it there): it lets the kernel after it be launched,
// whose threads then wait here, and waits until the one before it has ended and its writes can be seen.
// Without programmatic dependent launch neither does anything.
inline void begin() {
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// This thread's number in the grid.
template <class Index>
Index global_thread() {
  return static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
}

}  // namespace peri::kernels::cuda
