#pragma once

#include <array>
#include <cstdint>
#include <limits>

namespace spatialmamba::kernels {

/// Minimax polynomials (lowest power first) and limits behind the vector functions of vector_math-inl.h. The
/// relative errors are those of the polynomial alone.
template <typename T>
struct MathConstants;

template <>
struct MathConstants<float> {
  using Bits = std::int32_t;
  static constexpr int kMantissaBits = 23;
  static constexpr Bits kExponentBias = 127;
  static constexpr float kRounder = 0x1.8p23F;  ///< adding it rounds to an integer, in the low bits
  static constexpr float kLn2High = 0.693359375F;
  static constexpr float kLn2Low = -2.12194440e-4F;
  static constexpr float kExpLowest = -104.0F;        ///< e^x rounds to 0 below
  static constexpr float kExpHighest = 89.0F;         ///< e^x is infinite above
  static constexpr float kExpLowestNormal = -87.33F;  ///< e^x is a normal number in between
  static constexpr float kExpHighestNormal = 88.37F;
  /// (e^r - 1 - r) / r², |r| <= ln(2) / 2: 3e-9 of e^r.
  static constexpr std::array<float, 5> kExp = {0.499999934144F, 0.166665201077F, 0.0416683935806F,
                                                0.00836878048509F, 0.0013814506982F};
  /// (atanh(s) / s - 1) / s² of s², s <= 1/3: 5e-9 of atanh.
  static constexpr std::array<float, 4> kAtanh = {0.333332065639F, 0.200108497756F, 0.139995660204F,
                                                  0.14012252234F};
  /// erf(z) / z of z², z <= 1/2: 1.4e-9.
  static constexpr std::array<float, 5> kErf = {1.12837916556F, -0.376126085266F, 0.112828216902F,
                                                -0.0267571004871F, 0.00471779858285F};
  /// e^z² erfc(z) (z + 3) of (z - 3) / (z + 3), 0 <= z <= 10.2: 2e-9.
  static constexpr std::array<float, 10> kErfcx = {
      1.07400690777F,    -0.88339448645F,    0.590228298512F,   -0.310466008421F,    0.119529068317F,
      -0.0268398266539F, -0.00122643051844F, 0.00308032853105F, -0.000483177019049F, -0.000325333622467F};
  static constexpr float kErfcLargest = 10.2F;  ///< erfc rounds to 0 above
};

template <>
struct MathConstants<double> {
  using Bits = std::int64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr Bits kExponentBias = 1023;
  static constexpr double kRounder = 0x1.8p52;
  static constexpr double kLn2High = 0x1.62e42fee00000p-1;
  static constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr double kExpLowest = -746.0;
  static constexpr double kExpHighest = 710.0;
  static constexpr double kExpLowestNormal = -708.39;
  static constexpr double kExpHighestNormal = 709.08;
  /// 5e-20.
  static constexpr std::array<double, 11> kExp = {
      0.50000000000000000444,     0.1666666666666668357,    0.041666666666666089102,
      0.0083333333333169171696,   0.0013888888889117263924, 0.00019841269896680964474,
      0.000024801586924615133722, 2.755723455860416522e-6,  2.7557582780984152372e-7,
      2.5112144591038652453e-8,   2.0826541991131032139e-9};
  /// 4e-20.
  static constexpr std::array<double, 11> kAtanh = {
      0.3333333333333333916,   0.19999999999996988855,  0.14285714286255009584,  0.11111111062735611421,
      0.090909116014466987943, 0.076922259664045483895, 0.066684029052153723798, 0.058579753631529336452,
      0.054862833350713927815, 0.034971233481192453791, 0.082338182381759319022};
  /// 4e-18.
  static constexpr std::array<double, 9> kErf = {
      1.1283791670955125694,     -0.37612638903183466187,     0.11283791670924729981,
      -0.026866170632686690438,  0.005223977369828598771,     -0.00085482974784887420304,
      0.00012053321982029245674, -0.000014845522379120338415, 1.4722562167401864691e-6};
  /// 0 <= z <= 27.5: 7e-18.
  static constexpr std::array<double, 23> kErfcx = {
      1.0740069070883397085,       -0.88339445316988355565,   0.5902283571040994429,
      -0.31046726190057384665,     0.11952776128743529902,    -0.026827234624312043663,
      -0.0012124166305996924749,   0.003034061999089178567,   -0.00054830965150513553988,
      -0.00027677782976604513319,  0.000107561210999313715,   0.000030398069776433843022,
      -0.000017469403768407449362, -4.7488314145201234041e-6, 2.7622845724885736787e-6,
      9.9770471632122036212e-7,    -4.0272076229043462786e-7, -2.3109190238392851766e-7,
      4.0704355796936714481e-8,    4.74358706689311213e-8,    1.8986227223443314434e-9,
      -5.9941115887693914578e-9,   -1.4043006067128111766e-9};
  static constexpr double kErfcLargest = 27.5;
};

/// softplus(x) is x itself above this (PyTorch's threshold).
inline constexpr double kSoftplusThreshold = 20.0;
/// In single precision log1p(e^-20) vanishes beside 20, so that there is no step to reproduce.
template <typename T>
inline constexpr bool kSoftplusHasStep = std::numeric_limits<T>::digits > 30;

}  // namespace spatialmamba::kernels
