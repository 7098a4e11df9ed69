// Products through oneDNN. A product is cut into blocks by its shape alone, so that the same primitives run,
// and give the same bits, whatever the thread count; our own threads take the blocks. oneDNN's OpenMP is held
// to one thread: two pools would contend, and OpenMP's does not survive a fork.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>

#include <fmt/format.h>

#include "kernels/host/compute/threads.hpp"
#include "kernels/host/matmul/matmul.hpp"
#include "kernels/host/simd/elements.hpp"

namespace peri::kernels::host {
namespace {

// A block is at least this much work. bf16 takes more: oneDNN 2.6 reads a narrow block of b at half the
// speed.
constexpr int64_t kBlockFlops = 16'000'000, kBlockFlopsBf16 = 64'000'000;
constexpr int64_t kBlocks = 16;          // per product, at most
constexpr int64_t kBlockAlignment = 64;  // of a block's rows or columns

const dnnl::engine& engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// Of what oneDNN is given: f16 is converted to f32 first.
dnnl::memory::data_type data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return dnnl::memory::data_type::f32;
    case DType::bf16:
      return dnnl::memory::data_type::bf16;
    case DType::f16:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      break;
  }
  PERI_CHECK(false, "oneDNN is given f32 and bf16 only");
}

struct Matrix {
  int64_t rows, columns, row_stride, column_stride;

  // oneDNN walks a matrix fast if one stride is 1 and the other at least the length of what it skips.
  bool is_plain() const {
    return (column_stride == 1 && (rows == 1 || row_stride >= columns)) ||
           (row_stride == 1 && (columns == 1 || column_stride >= rows));
  }
  bool is_row_major() const { return column_stride == 1 && (rows == 1 || row_stride >= columns); }
  dnnl::memory::desc desc(DType dtype) const {
    // A stride that is never taken must still look plausible.
    const bool by_rows = is_row_major();
    return {{rows, columns},
            data_type(dtype),
            dnnl::memory::dims{rows > 1 || !by_rows ? row_stride : columns,
                               columns > 1 || by_rows ? column_stride : rows}};
  }
};

// What one thread needs to run one primitive: memory objects whose addresses change from call to call.
struct Arguments {
  dnnl::memory a, b, c, scratchpad;

  void execute(const dnnl::primitive& primitive, const dnnl::stream& stream, const void* a_data,
               const void* b_data, void* c_data, void* scratch) const {
    omp_set_num_threads(1);  // of this thread
    dnnl_memory_set_data_handle(a.get(), const_cast<void*>(a_data));
    dnnl_memory_set_data_handle(b.get(), const_cast<void*>(b_data));
    dnnl_memory_set_data_handle(c.get(), c_data);
    dnnl_memory_set_data_handle(scratchpad.get(), scratch);
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, a.get()},
                                         {DNNL_ARG_WEIGHTS, b.get()},
                                         {DNNL_ARG_DST, c.get()},
                                         {DNNL_ARG_SCRATCHPAD, scratchpad.get()}};
    const auto status = dnnl_primitive_execute(primitive.get(), stream.get(), 4, arguments);
    PERI_CHECK(status == dnnl_success, "oneDNN refused a primitive that it made");
  }
};

// The primitive of one block shape.
struct Block {
  dnnl::matmul primitive;
  dnnl::memory::desc a, b, c, scratchpad;

  Arguments arguments() const {
    return {dnnl::memory(a, engine(), nullptr), dnnl::memory(b, engine(), nullptr),
            dnnl::memory(c, engine(), nullptr), dnnl::memory(scratchpad, engine(), nullptr)};
  }
};

// Nothing if oneDNN has no fast implementation for the dtype on this processor.
std::optional<Block> make_block(const Matrix& a, const Matrix& b, const Matrix& c, DType dtype,
                                DType result) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::matmul::desc description(a.desc(dtype), b.desc(dtype), c.desc(result));
  dnnl::matmul::primitive_desc found(description, attributes, engine(), true);
  if (!found || std::strstr(found.impl_info_str(), "ref")) return std::nullopt;
  return Block{dnnl::matmul(found), found.src_desc(), found.weights_desc(), found.dst_desc(),
               found.scratchpad_desc()};
}

class OneDnnKernel final : public Kernel {
 public:
  // Throws dnnl::error and std::bad_alloc.
  explicit OneDnnKernel(const StridedGemm& p)
      : p_(p),
        size_(size_of(p.dtype)),
        a_{p.m, p.k, p.a_row, p.a_column},
        b_{p.k, p.n, p.b_row, p.b_column},
        c_{p.m, p.n, p.c_row, p.c_column},
        load_(load_tile(p.dtype)),
        store_(store_tile(p.dtype)) {
    omp_set_num_threads(1);
    cut();
    is_native_ = p.dtype == DType::f32 ||
                 (p.dtype == DType::bf16 && a_.is_plain() && b_.is_plain() && make_blocks(p.dtype));
    if (!is_native_ || p.dtype == DType::f32) {
      packs_a_ = !is_native_ || !a_.is_plain();
      packs_b_ = !is_native_ || !b_.is_plain();
      if (packs_a_) pack(a_, packed_a_);
      if (packs_b_) pack(b_, packed_b_);
      is_supported_ = make_blocks(DType::f32);
    }
    int64_t most = 0;
    for (const std::optional<Block>& block : blocks_)
      if (block) most = std::max(most, static_cast<int64_t>(block->scratchpad.get_size()));
    scratch_bytes_ = (most + 63) / 64 * 64;
    const int64_t workers = std::min<int64_t>(kMaxThreads, p_.batch.total() * block_count_);
    for (int64_t i = 0; i < workers; ++i) {
      Worker worker{dnnl::stream(engine()), {}};
      for (int b = 0; b < 2; ++b)
        if (blocks_[b]) worker.arguments[b] = blocks_[b]->arguments();
      workers_.push_back(std::move(worker));
    }
  }

  bool is_supported() const { return is_supported_; }
  void run(Addresses inputs, Addresses outputs) const override {
    const std::byte *a = inputs[p_.swapped], *b = inputs[!p_.swapped];
    if (packs_a_) convert(a, 1, {p_.m, p_.k, p_.a_row, p_.a_column}, packed_a_);
    if (packs_b_) convert(b, 2, {p_.k, p_.n, p_.b_row, p_.b_column}, packed_b_);
    parallel_for(p_.batch.total() * block_count_, 1, [&](int64_t begin, int64_t end, int part) {
      const int64_t c_bytes =
          writes_c_ ? 0 : block_rows_ * block_columns_ * static_cast<int64_t>(sizeof(float));
      std::byte* scratch = thread_scratch(scratch_bytes_ + c_bytes + 64);
      for (int64_t i = begin; i < end; ++i) run_block(workers_[part], i, a, b, outputs[0], scratch);
    });
  }

 private:
  struct Worker {
    dnnl::stream stream;
    Arguments arguments[2];
  };

  // How a product is cut: along its longer side.
  void cut() {
    const double flops =
        2.0 * static_cast<double>(p_.m) * static_cast<double>(p_.n) * static_cast<double>(p_.k);
    const int64_t per_block = p_.dtype == DType::bf16 ? kBlockFlopsBf16 : kBlockFlops;
    const int64_t wanted = p_.batch.total() >= kBlocks
                               ? 1
                               : std::clamp<int64_t>(static_cast<int64_t>(flops) / per_block, 1, kBlocks);
    auto side = [&](int64_t length) {
      const int64_t even = (length + wanted - 1) / wanted;
      return std::min(length, (even + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment);
    };
    cuts_columns_ = p_.n >= p_.m;
    block_rows_ = cuts_columns_ ? p_.m : side(p_.m);
    block_columns_ = cuts_columns_ ? side(p_.n) : p_.n;
    const int64_t length = cuts_columns_ ? p_.n : p_.m, block = cuts_columns_ ? block_columns_ : block_rows_;
    block_count_ = (length + block - 1) / block;
    last_block_ = length - (block_count_ - 1) * block;
  }

  // The primitives of whole blocks and of the last one, computing in `dtype`.
  bool make_blocks(DType dtype) {
    writes_c_ = dtype == p_.dtype && c_.is_row_major();
    const DType result = writes_c_ ? dtype : DType::f32;
    auto block = [&](int64_t length) {
      Matrix a = a_, b = b_, c = c_;
      a.rows = c.rows = cuts_columns_ ? p_.m : length;
      b.columns = c.columns = cuts_columns_ ? length : p_.n;
      if (!writes_c_) c = {c.rows, c.columns, c.columns, 1};
      return make_block(a, b, c, dtype, result);
    };
    blocks_[0] = block(cuts_columns_ ? block_columns_ : block_rows_);
    blocks_[1] = block(last_block_);
    compute_bytes_ = size_of(dtype);
    return blocks_[0] && blocks_[1];
  }

  // The operand as row-major f32 matrices, one after the other.
  void pack(Matrix& matrix, std::vector<float>& packed) {
    matrix.row_stride = matrix.columns;
    matrix.column_stride = 1;
    packed.resize(static_cast<size_t>(p_.batch.total() * matrix.rows * matrix.columns));
  }

  void convert(const std::byte* from, int operand, const Matrix& matrix, std::vector<float>& packed) const {
    parallel_for(p_.batch.total() * matrix.rows, 64 * 1024 / matrix.columns, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = p_.batch.offset(operand, i / matrix.rows) + i % matrix.rows * matrix.row_stride;
        load_(packed.data() + i * matrix.columns, from + at * size_, matrix.column_stride, matrix.columns);
      }
    });
  }

  void run_block(const Worker& worker, int64_t i, const std::byte* a, const std::byte* b, std::byte* c,
                 std::byte* scratch) const {
    const int64_t matrix = i / block_count_, index = i % block_count_;
    const bool is_last = index == block_count_ - 1;
    const int64_t row = cuts_columns_ ? 0 : index * block_rows_,
                  column = cuts_columns_ ? index * block_columns_ : 0;
    const int64_t rows = cuts_columns_ || !is_last ? block_rows_ : last_block_;
    const int64_t columns = !cuts_columns_ || !is_last ? block_columns_ : last_block_;

    const std::byte* a_block =
        packs_a_ ? reinterpret_cast<const std::byte*>(packed_a_.data() + matrix * p_.m * p_.k)
                 : a + p_.batch.offset(1, matrix) * size_;
    const std::byte* b_block =
        packs_b_ ? reinterpret_cast<const std::byte*>(packed_b_.data() + matrix * p_.k * p_.n)
                 : b + p_.batch.offset(2, matrix) * size_;
    a_block += row * a_.row_stride * compute_bytes_;
    b_block += column * b_.column_stride * compute_bytes_;
    std::byte* c_block = c + (p_.batch.offset(0, matrix) + row * p_.c_row + column * p_.c_column) * size_;
    auto* result = reinterpret_cast<float*>(scratch + scratch_bytes_);
    worker.arguments[is_last].execute(blocks_[is_last]->primitive, worker.stream, a_block, b_block,
                                      writes_c_ ? static_cast<void*>(c_block) : result, scratch);
    if (writes_c_) return;
    for (int64_t r = 0; r < rows; ++r)
      store_(result + r * columns, c_block + r * p_.c_row * size_, p_.c_column, columns);
  }

  StridedGemm p_;
  int64_t size_;
  Matrix a_, b_, c_;  // as oneDNN sees them
  LoadTile load_;
  StoreTile store_;
  bool is_native_, is_supported_ = true, packs_a_ = false, packs_b_ = false;
  bool cuts_columns_;
  bool
      writes_c_;  // oneDNN writes the result itself; else it makes f32, which is rounded once into the output
  int64_t block_rows_, block_columns_, block_count_, last_block_, compute_bytes_, scratch_bytes_;
  std::optional<Block> blocks_[2];  // whole, last
  std::vector<Worker> workers_;
  mutable std::vector<float> packed_a_, packed_b_;
};

}  // namespace

static bool onednn_multiplies_bf16() {
  static const bool has_bf16 = [] {
    const Matrix small{16, 16, 16, 1};
    try {
      return make_block(small, small, small, DType::bf16, DType::bf16).has_value();
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return has_bf16;
}

bool onednn_multiplies(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return true;
    case DType::bf16:
      return onednn_multiplies_bf16();
    case DType::f16:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      return false;
  }
  return false;
}

CompiledHostKernel compile_onednn_gemm(const StridedGemm& product) {
  try {
    auto kernel = std::make_unique<OneDnnKernel>(product);
    if (!kernel->is_supported()) return fail(Code::Unsupported, "matmul: oneDNN has no f32 product here");
    return kernel;
  } catch (const dnnl::error& error) {
    return fail(Code::Unsupported, fmt::format("matmul: oneDNN: {}", error.what()));
  } catch (const std::bad_alloc&) {
    return fail(Code::OutOfMemory,
                fmt::format("matmul: no memory for {} x {} x {}", product.m, product.n, product.k));
  }
}

}  // namespace peri::kernels::host
