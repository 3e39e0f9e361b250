#include "data/idx.h"

#include <algorithm>
#include <array>
#include <memory>

#include <zlib.h>

#include "base/error.h"

namespace spatialmamba::data {
namespace {

constexpr std::uint32_t kUnsignedBytes = 0x08;
constexpr std::int64_t kMaxValues = std::int64_t{1} << 32;
/// The array grows as its bytes arrive, so that a header alone cannot claim memory.
constexpr std::size_t kChunk = std::size_t{1} << 22;

/// A file read through zlib, which passes what is not gzipped as it is.
class ByteStream {
 public:
  explicit ByteStream(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    if (file_ == nullptr || std::filesystem::is_directory(path)) fail("{}: cannot be opened", path.string());
  }

  void read(std::uint8_t* to, std::size_t count) {
    const int got = gzread(file_.get(), to, static_cast<unsigned>(count));
    if (got < 0) fail("{}: corrupt gzip data ({})", path_.string(), reason());
    if (static_cast<std::size_t>(got) < count) fail("{}: the file ends early", path_.string());
  }

  /// At the end zlib also checks the gzip stream's checksum.
  void require_end() {
    std::uint8_t extra = 0;
    const int got = gzread(file_.get(), &extra, 1);
    if (got > 0) fail("{}: more data than the header says", path_.string());
    if (got < 0) fail("{}: corrupt gzip data ({})", path_.string(), reason());
    int code = Z_OK;
    gzerror(file_.get(), &code);
    if (code != Z_OK) fail("{}: the file ends early", path_.string());
  }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose_r(file); }
  };

  const char* reason() {
    int code = Z_OK;
    return gzerror(file_.get(), &code);
  }

  const std::filesystem::path& path_;
  std::unique_ptr<gzFile_s, Close> file_;
};

std::uint32_t read_u32(ByteStream& stream) {
  std::array<std::uint8_t, 4> bytes{};
  stream.read(bytes.data(), bytes.size());
  std::uint32_t value = 0;
  for (const std::uint8_t byte : bytes) value = (value << 8U) | byte;
  return value;
}

}  // namespace

IdxArray read_idx(const std::filesystem::path& path, std::size_t rank) {
  ByteStream stream(path);
  const std::uint32_t magic = read_u32(stream);
  if (magic != (kUnsignedBytes << 8U | rank)) {
    fail("{}: not an IDX file of {}-dimensional bytes (its first bytes are {:08x})", path.string(), rank,
         magic);
  }
  IdxArray array;
  std::int64_t total = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    array.dimensions.push_back(read_u32(stream));
    const std::int64_t size = array.dimensions.back();
    if (size < 1 || total > kMaxValues / size) {
      fail("{}: dimension {} of size {} is not plausible", path.string(), i, size);
    }
    total *= size;
  }
  while (static_cast<std::int64_t>(array.values.size()) < total) {
    const std::size_t have = array.values.size();
    const std::size_t count = std::min(kChunk, static_cast<std::size_t>(total) - have);
    array.values.resize(have + count);
    stream.read(array.values.data() + have, count);
  }
  stream.require_end();
  return array;
}

}  // namespace spatialmamba::data
