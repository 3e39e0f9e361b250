#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "archive/source.h"

namespace spatialmamba {

/// Walks over the members of a tar archive (ustar, GNU and pax long names) in their order. Every length is
/// checked before it is used.
class TarReader {
 public:
  explicit TarReader(Source source) : source_(std::move(source)) {}

  struct Member {
    std::string name;
    std::uint64_t offset = 0;  ///< of its content
    std::uint64_t bytes = 0;
  };
  /// The next regular file; nothing at the end mark. Throws Error (without a file name) for a damaged header,
  /// for a member that is cut off and where the bytes end before the mark: what follows cannot be found then.
  std::optional<Member> next();

 private:
  struct Header;
  struct LongFields;
  std::optional<Header> read_header();
  void read_long_fields(const Header& header, LongFields& fields) const;
  std::span<const std::byte> content_of(const Header& header) const;

  Source source_;
  std::uint64_t position_ = 0;
};

}  // namespace spatialmamba
