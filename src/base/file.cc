#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <sstream>

#include "base/error.h"

namespace spatialmamba {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

std::string reason() {
  return std::strerror(errno);
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ > STDERR_FILENO) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

int open_for_reading(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail("{}: cannot be opened: {}", path.string(), reason());
  return descriptor;
}

std::vector<std::byte> read_all(int descriptor, const std::filesystem::path& path) {
  std::vector<std::byte> content;
  std::size_t used = 0;
  while (true) {
    if (content.size() - used < kBufferBytes / 2) content.resize(content.size() + kBufferBytes);
    const ssize_t got = ::read(descriptor, content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("{}: cannot be read: {}", path.string(), reason());
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  content.resize(used);
  return content;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const Descriptor descriptor(open_for_reading(path));
  struct stat info {};
  if (::fstat(descriptor.get(), &info) != 0) fail("{}: cannot be examined: {}", path.string(), reason());
  if (!S_ISREG(info.st_mode)) fail("{}: expected a file, found a folder or device", path.string());
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->size_ = static_cast<std::size_t>(info.st_size);
  if (file->size_ == 0) return file;
  void* address = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
  if (address == MAP_FAILED) fail("{}: cannot be mapped into memory: {}", path.string(), reason());
  file->data_ = static_cast<const std::byte*>(address);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  if (path == "-") return read_all(STDIN_FILENO, "standard input");
  const Descriptor descriptor(open_for_reading(path));
  return read_all(descriptor.get(), path);
}

std::string read_text(const std::filesystem::path& path) {
  const std::vector<std::byte> content = read_file(path);
  return {reinterpret_cast<const char*>(content.data()), content.size()};
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::istringstream text(read_text(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail("{}: folder cannot be created: {}", path.string(), error.message());
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  if (std::filesystem::is_directory(path_))
    fail("{}: expected a file to write, found a folder", path_.string());
  std::error_code none;
  if (std::filesystem::is_symlink(path_, none)) path_ = std::filesystem::weakly_canonical(path_, none);
  buffer_.reserve(kBufferBytes);
  if (std::filesystem::exists(path_, none) && !std::filesystem::is_regular_file(path_, none)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("{}: cannot be written: {}", path_.string(), reason());
    return;
  }
  if (path_.has_parent_path()) make_folder(path_.parent_path());
  open_temporary();
}

void AtomicFile::open_temporary() {
  // Not mkstemp: that makes the file private, and the umask cannot be read without changing it for all
  // threads.
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_ = fmt::format("{}.tmp-{}-{}", path_.string(), ::getpid(), attempt);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) fail("{}: cannot be written: {}", path_.string(), reason());
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(data);
  position_ += bytes;
  while (bytes > 0) {
    const std::size_t part = std::min(bytes, kBufferBytes - buffer_.size());
    buffer_.insert(buffer_.end(), begin, begin + part);
    begin += part;
    bytes -= part;
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void AtomicFile::flush() {
  const std::byte* begin = buffer_.data();
  std::size_t left = buffer_.size();
  while (left > 0) {
    const ssize_t put = ::write(descriptor_, begin, left);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("{}: cannot be written: {}", path_.string(), reason());
    begin += put;
    left -= static_cast<std::size_t>(put);
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  // EINVAL, EROFS: what is no regular file has nothing to sync.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) {
    fail("{}: cannot be written: {}", path_.string(), reason());
  }
  if (!temporary_.empty() && ::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail("{}: cannot be written: {}", path_.string(), reason());
  ::close(descriptor_);
  descriptor_ = -1;
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> content) {
  AtomicFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}

void write_text(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace spatialmamba
