#include "base/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "base/error.h"
#include "base/progress.h"
#include "support/message_of.h"
#include "support/temporary_folder.h"

namespace spatialmamba {
namespace {

using std::filesystem::path;
using test::message_of;
using testing::HasSubstr;
using testing::Test;

class File : public Test {
 protected:
  ~File() override { std::filesystem::permissions(folder_, std::filesystem::perms::owner_all); }

  std::size_t files_in_folder() const {
    const std::filesystem::directory_iterator entries(folder_);
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
  }

  test::TemporaryFolder temporary_;
  const path folder_ = temporary_.path();
};

/// Files of this process may not grow beyond `bytes` while one lives: a full disk for a user without rights.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  SizeLimit(const SizeLimit&) = delete;
  SizeLimit& operator=(const SizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

/// Root may write everywhere; while one lives, root is somebody else.
class Unprivileged {
 public:
  Unprivileged() : before_(::geteuid()) {
    constexpr uid_t kNobody = 65534;
    if (before_ == 0 && ::seteuid(kNobody) != 0) fail("cannot give up root's rights");
  }
  ~Unprivileged() {
    if (before_ == 0 && ::seteuid(before_) != 0) std::abort();
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  uid_t before_;
};

TEST_F(File, WritesAndReadsBack) {
  const path file = folder_ / "a" / "b" / "text";
  write_text(file, "first");
  write_text(file, "second");
  EXPECT_EQ(read_text(file), "second");
  write_text(file, "");
  EXPECT_TRUE(read_file(file).empty());
  EXPECT_TRUE(MappedFile::open(file)->bytes().empty());
}

TEST_F(File, LargerThanTheBuffer) {
  std::string content(5'000'001, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 + i / 977);
  AtomicFile file(folder_ / "large");
  for (std::size_t at = 0; at < content.size(); at += 333'333)
    file.write(std::string_view(content).substr(at, 333'333));
  EXPECT_EQ(file.position(), content.size());
  file.commit();
  EXPECT_EQ(read_text(folder_ / "large"), content);
  const auto mapped = MappedFile::open(folder_ / "large");
  EXPECT_EQ(std::memcmp(mapped->bytes().data(), content.data(), content.size()), 0);
}

TEST_F(File, NothingIsThereBeforeCommit) {
  const path file = folder_ / "file";
  write_text(file, "old");
  try {
    AtomicFile unfinished(file);
    unfinished.write("new");
    throw std::runtime_error("in between");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(read_text(file), "old");
  EXPECT_EQ(files_in_folder(), 1U);
}

TEST_F(File, AFullDiskLeavesTheOldFile) {
  const path file = folder_ / "checkpoint";
  write_text(file, "old");
  const std::string large(3'000'000, 'x');
  {
    const SizeLimit limit(1'500'000);
    EXPECT_THAT(message_of([&] { write_text(file, large); }),
                HasSubstr(file.string() + ": cannot be written: "));
  }
  EXPECT_EQ(read_text(file), "old");
  EXPECT_EQ(files_in_folder(), 1U);
  {
    const SizeLimit limit(10);  // only the flush of commit() meets it
    EXPECT_THROW(write_text(file, "a little more"), Error);
  }
  EXPECT_EQ(read_text(file), "old");
  EXPECT_EQ(files_in_folder(), 1U);
}

TEST_F(File, AnUnwritableFolderIsNamed) {
  const path file = folder_ / "file";
  write_text(file, "old");
  std::filesystem::permissions(folder_, std::filesystem::perms(0555));
  {
    const Unprivileged user;
    EXPECT_THAT(message_of([&] { write_text(file, "new"); }), HasSubstr(file.string()));
    EXPECT_THAT(message_of([&] { write_text(folder_ / "sub" / "file", "new"); }), HasSubstr("sub"));
  }
  EXPECT_EQ(read_text(file), "old");
}

TEST_F(File, AFileInPlaceOfAFolderIsNamed) {
  write_text(folder_ / "file", "text");
  EXPECT_THAT(message_of([&] { write_text(folder_ / "file" / "below", "text"); }),
              HasSubstr("folder cannot be created"));
  EXPECT_THAT(message_of([&] { write_text(folder_, "text"); }), HasSubstr("found a folder"));
}

TEST_F(File, PermissionsFollowTheUmask) {
  const mode_t before = ::umask(027);
  write_text(folder_ / "file", "text");
  ::umask(before);
  struct stat info {};
  ASSERT_EQ(::stat((folder_ / "file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0640U);
}

TEST_F(File, ALinkIsFollowed) {
  write_text(folder_ / "target", "old");
  std::filesystem::create_symlink("target", folder_ / "link");
  write_text(folder_ / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_text(folder_ / "target"), "new");
}

TEST_F(File, APipeIsWrittenNotReplaced) {
  // Stands for /dev/null and its like too, which a failing test run by root had better not touch.
  const path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  write_text(pipe, "text");
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  std::string received(4, ' ');
  if (std::filesystem::is_fifo(pipe)) {
    EXPECT_EQ(::read(reader, received.data(), received.size()), 4);
  }
  ::close(reader);
  EXPECT_EQ(received, "text");
}

TEST_F(File, LeftoversOfAKilledProcessAreNoObstacle) {
  const path file = folder_ / "file";
  write_text(file.string() + ".tmp-" + std::to_string(::getpid()) + "-0", "half");
  write_text(file, "whole");
  EXPECT_EQ(read_text(file), "whole");
}

TEST_F(File, ReadingWhatIsNotAFile) {
  const path missing = folder_ / "missing";
  EXPECT_THAT(message_of([&] { read_file(missing); }), HasSubstr(missing.string() + ": cannot be opened"));
  EXPECT_THAT(message_of([&] { MappedFile::open(missing); }), HasSubstr(missing.string()));
  EXPECT_THAT(message_of([&] { read_file(folder_); }), HasSubstr(folder_.string() + ": cannot be read"));
  EXPECT_THAT(message_of([&] { MappedFile::open(folder_); }), HasSubstr("expected a file, found a folder"));
}

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(-1.0), "0 s");
  EXPECT_EQ(format_duration(0.4), "0 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1 min 0 s");
  EXPECT_EQ(format_duration(250.0), "4 min 10 s");
  EXPECT_EQ(format_duration(7500.0), "2 h 5 min");
  EXPECT_EQ(format_duration(3599.0), "59 min 59 s");
}

}  // namespace
}  // namespace spatialmamba
