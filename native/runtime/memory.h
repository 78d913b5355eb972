// Memory for weights, caches and working buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace lutmac {

// Anonymous zeroed memory, given by the system page by page as it is first written; returned when dropped.
class Mapping {
 public:
  explicit Mapping(size_t bytes, bool huge_pages);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

// A piece of a mapping that many small matrices share, so that they too lie on huge pages.
struct Allocation {
  std::shared_ptr<Mapping> owner;
  uint8_t* data = nullptr;
  size_t bytes = 0;
};

// 64-byte aligned; thread-safe.
Allocation allocate_weights(size_t bytes);

int64_t resident_bytes();
int64_t peak_resident_bytes();

}  // namespace lutmac
