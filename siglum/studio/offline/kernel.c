/* The matrix product of the exported page. kernel.wasm is made of it with the package ziglang:

   python -m ziglang cc --target=wasm32-freestanding -O3 -msimd128 -nostdlib -Wl,--no-entry \
     -Wl,--import-memory -Wl,--strip-all -Wl,-z,stack-size=0 -o kernel.wasm kernel.c
*/

#include <wasm_simd128.h>

static float sum(v128_t v) {
  return wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1) +
         wasm_f32x4_extract_lane(v, 2) + wasm_f32x4_extract_lane(v, 3);
}

/* c (m, n) = a (m, k) times the transpose of b (n, k); m and k are multiples of 4, n of 2. */
__attribute__((export_name("multiply"))) void multiply(const float *a, const float *b, float *c,
                                                       int m, int n, int k) {
  for (int i = 0; i < m; i += 4) {
    for (int j = 0; j < n; j += 2) {
      const float *x = a + i * k, *y = b + j * k;
      v128_t sums[4][2] = {0}; /* eight products of rows stay in registers */
      for (int p = 0; p < k; p += 4) {
        v128_t first = wasm_v128_load(y + p), second = wasm_v128_load(y + k + p);
#pragma unroll
        for (int row = 0; row < 4; row++) {
          v128_t four = wasm_v128_load(x + row * k + p);
          sums[row][0] = wasm_f32x4_add(sums[row][0], wasm_f32x4_mul(four, first));
          sums[row][1] = wasm_f32x4_add(sums[row][1], wasm_f32x4_mul(four, second));
        }
      }
#pragma unroll
      for (int row = 0; row < 4; row++) {
        c[(i + row) * n + j] = sum(sums[row][0]);
        c[(i + row) * n + j + 1] = sum(sums[row][1]);
      }
    }
  }
}
