#pragma once

#include <cstdint>

/// The numbers of the zip format (PKWARE's APPNOTE 6.3.10) that reader and writer share.
namespace spatialmamba::zip {

inline constexpr std::uint32_t kLocalHeader = 0x04034b50;
inline constexpr std::uint32_t kDirectoryEntry = 0x02014b50;
inline constexpr std::uint32_t kDirectoryEnd = 0x06054b50;
inline constexpr std::uint32_t kDirectoryEnd64 = 0x06064b50;
inline constexpr std::uint32_t kLocator64 = 0x07064b50;

inline constexpr std::uint64_t kLocalHeaderBytes = 30;
inline constexpr std::uint64_t kDirectoryEntryBytes = 46;
inline constexpr std::uint64_t kDirectoryEndBytes = 22;
inline constexpr std::uint64_t kLocator64Bytes = 20;
inline constexpr std::uint64_t kMaxComment = 0xFFFF;

inline constexpr std::uint16_t kFlagEncrypted = 0x0001;
inline constexpr std::uint16_t kFlagUtf8 = 0x0800;
inline constexpr std::uint16_t kStored = 0;
inline constexpr std::uint16_t kDeflated = 8;
inline constexpr std::uint16_t kExtra64 = 0x0001;
/// A field of this value stands in the zip64 record instead.
inline constexpr std::uint32_t kIn64 = 0xFFFFFFFF;
inline constexpr std::uint16_t kIn64Short = 0xFFFF;

}  // namespace spatialmamba::zip
