#include "runtime/memory.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <new>

namespace lutmac {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Large enough that the matrices of a small model share few mappings, small enough that a dropped model leaves little.
constexpr size_t kChunk = size_t{32} << 20;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

Mapping::Mapping(size_t bytes, bool huge_pages) : bytes_(round_up(bytes ? bytes : 1, kHugePage)) {
  // One huge page more, to start on a boundary; what is never touched costs nothing.
  const size_t reserved = bytes_ + kHugePage;
  void* at = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  uint8_t* raw = static_cast<uint8_t*>(at);
  data_ = reinterpret_cast<uint8_t*>(round_up(reinterpret_cast<uintptr_t>(raw), kHugePage));
  const size_t head = static_cast<size_t>(data_ - raw);
  if (head) munmap(raw, head);
  if (reserved - head > bytes_) munmap(data_ + bytes_, reserved - head - bytes_);
#ifdef MADV_HUGEPAGE
  if (huge_pages) madvise(data_, bytes_, MADV_HUGEPAGE);
#else
  (void)huge_pages;
#endif
}

Mapping::~Mapping() { munmap(data_, bytes_); }

Allocation allocate_weights(size_t bytes) {
  static std::mutex mutex;
  static std::weak_ptr<Mapping> shared_chunk;
  static size_t used = 0;
  bytes = round_up(bytes ? bytes : 1, 64);
  if (bytes > kChunk / 4) {
    auto own = std::make_shared<Mapping>(bytes, true);
    return {own, own->data(), bytes};
  }
  const std::lock_guard lock(mutex);
  auto chunk = shared_chunk.lock();
  if (!chunk || used + bytes > chunk->bytes()) {
    chunk = std::make_shared<Mapping>(kChunk, true);
    shared_chunk = chunk;
    used = 0;
  }
  uint8_t* data = chunk->data() + used;
  used += bytes;
  return {chunk, data, bytes};
}

int64_t resident_bytes() {
  long total = 0, resident = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return int64_t{resident} * sysconf(_SC_PAGESIZE);
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace lutmac
