// The kernels of the card, compiled when a card is first asked for. Images are batch x channels x height x width, row-major.
//
// Nothing adds atomically: what meets is added in an order that the sizes give, so the same card gives the same numbers again. Ways
// back gather: each place of an input sums over the outputs that read it. They add to gradients, which begin at zero.

typedef long long wide;

#define EACH(i, count) for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

struct Geometry {
    int batch, channels, height, width, outputs, out_height, out_width, kernel_y, kernel_x, stride, pad_y, pad_x, dilation, groups;
};

// What is no number is passed on.
__device__ float rectified(float x) { return x < 0.0f ? 0.0f : x; }

// The output along an axis that reads a place by a tap of the kernel; -1 if there is none.
__device__ int reader(int place, int tap, int pad, int stride, int dilation, int outputs) {
    int at = place + pad - tap * dilation;
    if (at < 0 || at % stride) return -1;
    at /= stride;
    return at < outputs ? at : -1;
}

// The sum over a block of up to 1024 threads, for all of them.
__device__ float block_sum(float value) {
    __shared__ float sums[32];
    for (int by = 16; by; by /= 2) value += __shfl_xor_sync(~0u, value, by);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    __syncthreads();
    if (!lane) sums[warp] = value;
    __syncthreads();
    value = lane < (blockDim.x + 31) / 32 ? sums[lane] : 0.0f;
    for (int by = 16; by; by /= 2) value += __shfl_xor_sync(~0u, value, by);
    return value;
}

// ---- convolution as a product: what each output reads, (channels * taps) x outputs for each image.

extern "C" __global__ void unfold(Geometry g, const float *x, float *columns, int relu) {
    int plane = g.out_height * g.out_width, taps = g.kernel_y * g.kernel_x;
    EACH(i, g.batch * g.channels * plane) {
        int p = i % plane, image = i / plane, oy = p / g.out_width, ox = p % g.out_width;
        const float *from = x + (wide)image * g.height * g.width;
        float *to = columns + (wide)image * taps * plane + p;
        for (int ky = 0; ky < g.kernel_y; ky++) {
            int y = oy * g.stride + ky * g.dilation - g.pad_y;
            for (int kx = 0; kx < g.kernel_x; kx++, to += plane) {
                int at = ox * g.stride + kx * g.dilation - g.pad_x;
                bool inside = y >= 0 && y < g.height && at >= 0 && at < g.width;
                float value = inside ? from[y * g.width + at] : 0.0f;
                *to = relu ? rectified(value) : value;
            }
        }
    }
}

// The way back of `unfold`: `x` is read where a ReLU came before.
extern "C" __global__ void fold(Geometry g, const float *columns, const float *x, float *to_x, int relu) {
    int plane = g.out_height * g.out_width, taps = g.kernel_y * g.kernel_x, size = g.height * g.width;
    EACH(i, g.batch * g.channels * size) {
        if (relu && !(x[i] > 0.0f)) continue;
        int p = i % size, y = p / g.width, at = p % g.width;
        const float *from = columns + (wide)(i / size) * taps * plane;
        float sum = 0.0f;
        for (int ky = 0; ky < g.kernel_y; ky++) {
            int oy = reader(y, ky, g.pad_y, g.stride, g.dilation, g.out_height);
            if (oy < 0) continue;
            for (int kx = 0; kx < g.kernel_x; kx++) {
                int ox = reader(at, kx, g.pad_x, g.stride, g.dilation, g.out_width);
                if (ox >= 0) sum += from[(wide)(ky * g.kernel_x + kx) * plane + oy * g.out_width + ox];
            }
        }
        to_x[i] += sum;
    }
}

// to[i] += the sum of from[part * count + i].
extern "C" __global__ void add_parts(int count, int parts, const float *from, float *to) {
    EACH(i, count) {
        float sum = 0.0f;
        for (int part = 0; part < parts; part++) sum += from[(wide)part * count + i];
        to[i] += sum;
    }
}

// ---- depthwise convolution. KY and KX are 0 where the size of the kernel is known at run time only.

template <int KY, int KX>
__device__ void depthwise(const Geometry &g, const float *x, const float *weight, float *out, int relu) {
    const int ny = KY ? KY : g.kernel_y, nx = KX ? KX : g.kernel_x;
    int plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * plane) {
        int p = i % plane, image = i / plane, oy = p / g.out_width, ox = p % g.out_width;
        const float *from = x + (wide)image * g.height * g.width, *w = weight + (image % g.channels) * ny * nx;
        float sum = 0.0f;
#pragma unroll
        for (int ky = 0; ky < ny; ky++) {
            int y = oy * g.stride + ky * g.dilation - g.pad_y;
            if (y < 0 || y >= g.height) continue;
#pragma unroll
            for (int kx = 0; kx < nx; kx++) {
                int at = ox * g.stride + kx * g.dilation - g.pad_x;
                if (at < 0 || at >= g.width) continue;
                float value = from[y * g.width + at];
                sum += w[ky * nx + kx] * (relu ? rectified(value) : value);
            }
        }
        out[i] = sum;
    }
}

template <int KY, int KX>
__device__ void depthwise_to_x(const Geometry &g, const float *delta, const float *weight, const float *x, float *to_x, int relu) {
    const int ny = KY ? KY : g.kernel_y, nx = KX ? KX : g.kernel_x;
    int size = g.height * g.width, plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * size) {
        if (relu && !(x[i] > 0.0f)) continue;
        int p = i % size, image = i / size, y = p / g.width, at = p % g.width;
        const float *from = delta + (wide)image * plane, *w = weight + (image % g.channels) * ny * nx;
        float sum = 0.0f;
#pragma unroll
        for (int ky = 0; ky < ny; ky++) {
            int oy = reader(y, ky, g.pad_y, g.stride, g.dilation, g.out_height);
            if (oy < 0) continue;
#pragma unroll
            for (int kx = 0; kx < nx; kx++) {
                int ox = reader(at, kx, g.pad_x, g.stride, g.dilation, g.out_width);
                if (ox >= 0) sum += w[ky * nx + kx] * from[oy * g.out_width + ox];
            }
        }
        to_x[i] += sum;
    }
}

// Block (channel, part) sums over its share of the outputs of all images: parts x channels x taps.
template <int KY, int KX>
__device__ void depthwise_to_weight(const Geometry &g, const float *x, const float *delta, float *parts, int relu) {
    const int ny = KY ? KY : g.kernel_y, nx = KX ? KX : g.kernel_x;
    int plane = g.out_height * g.out_width, channel = blockIdx.x, count = g.batch * plane;
    float *to = parts + ((wide)blockIdx.y * g.channels + channel) * ny * nx;
    // A kernel whose size is unknown is read tap by tap, since an array of unknown size is no register.
    const int rounds = KY ? 1 : ny * nx, taps = KY ? KY * KX : 1;
    for (int round = 0; round < rounds; round++) {
        float sums[KY ? KY * KX : 1] = {};
        for (int e = blockIdx.y * blockDim.x + threadIdx.x; e < count; e += gridDim.y * blockDim.x) {
            int p = e % plane, image = e / plane * g.channels + channel, oy = p / g.out_width, ox = p % g.out_width;
            const float *from = x + (wide)image * g.height * g.width;
            float slope = delta[(wide)image * plane + p];
#pragma unroll
            for (int tap = 0; tap < taps; tap++) {
                int of = KY ? tap : round;
                int y = oy * g.stride + of / nx * g.dilation - g.pad_y, at = ox * g.stride + of % nx * g.dilation - g.pad_x;
                if (y < 0 || y >= g.height || at < 0 || at >= g.width) continue;
                float value = from[y * g.width + at];
                sums[tap] += slope * (relu ? rectified(value) : value);
            }
        }
#pragma unroll
        for (int tap = 0; tap < taps; tap++) {
            float sum = block_sum(sums[tap]);
            if (!threadIdx.x) to[KY ? tap : round] = sum;
        }
    }
}

#define DEPTHWISE(name, KY, KX)                                                                                                          \
    extern "C" __global__ void depthwise_##name(Geometry g, const float *x, const float *weight, float *out, int relu) {                 \
        depthwise<KY, KX>(g, x, weight, out, relu);                                                                                      \
    }                                                                                                                                    \
    extern "C" __global__ void depthwise_to_x_##name(Geometry g, const float *delta, const float *weight, const float *x, float *to_x,   \
                                                     int relu) {                                                                         \
        depthwise_to_x<KY, KX>(g, delta, weight, x, to_x, relu);                                                                         \
    }                                                                                                                                    \
    extern "C" __global__ void depthwise_to_weight_##name(Geometry g, const float *x, const float *delta, float *parts, int relu) {      \
        depthwise_to_weight<KY, KX>(g, x, delta, parts, relu);                                                                           \
    }
DEPTHWISE(3, 3, 3)
DEPTHWISE(5, 5, 5)
DEPTHWISE(7, 7, 7)
DEPTHWISE(any, 0, 0)

// ---- pooling

extern "C" __global__ void max_pool(Geometry g, const float *x, float *out, unsigned short *which) {
    int plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * plane) {
        int p = i % plane, oy = p / g.out_width, ox = p % g.out_width;
        const float *from = x + (wide)(i / plane) * g.height * g.width;
        float best = __int_as_float(0xff800000);
        int tap = 0;
        for (int k = 0; k < g.kernel_y * g.kernel_x; k++) {
            int y = oy * g.stride + k / g.kernel_x - g.pad_y, at = ox * g.stride + k % g.kernel_x - g.pad_x;
            if (y < 0 || y >= g.height || at < 0 || at >= g.width) continue;
            float value = from[y * g.width + at];
            // What is no number is passed on.
            if (value > best || value != value) best = value, tap = k;
        }
        out[i] = best;
        which[i] = tap;
    }
}

extern "C" __global__ void max_pool_to_x(Geometry g, const float *delta, const unsigned short *which, float *to_x) {
    int size = g.height * g.width, plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * size) {
        int p = i % size, y = p / g.width, at = p % g.width;
        wide first = (wide)(i / size) * plane;
        float sum = 0.0f;
        for (int k = 0; k < g.kernel_y * g.kernel_x; k++) {
            int oy = reader(y, k / g.kernel_x, g.pad_y, g.stride, 1, g.out_height);
            int ox = reader(at, k % g.kernel_x, g.pad_x, g.stride, 1, g.out_width);
            if (oy < 0 || ox < 0) continue;
            wide o = first + oy * g.out_width + ox;
            if (which[o] == k) sum += delta[o];
        }
        to_x[i] += sum;
    }
}

// Places of a window along an axis that are no padding.
__device__ int inside(int out, int kernel, int stride, int pad, int size) {
    int first = max(out * stride - pad, 0), last = min(out * stride - pad + kernel, size);
    return max(last - first, 1);
}

extern "C" __global__ void avg_pool(Geometry g, const float *x, float *out) {
    int plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * plane) {
        int p = i % plane, oy = p / g.out_width, ox = p % g.out_width;
        const float *from = x + (wide)(i / plane) * g.height * g.width;
        float sum = 0.0f;
        for (int k = 0; k < g.kernel_y * g.kernel_x; k++) {
            int y = oy * g.stride + k / g.kernel_x - g.pad_y, at = ox * g.stride + k % g.kernel_x - g.pad_x;
            if (y >= 0 && y < g.height && at >= 0 && at < g.width) sum += from[y * g.width + at];
        }
        int count = inside(oy, g.kernel_y, g.stride, g.pad_y, g.height) * inside(ox, g.kernel_x, g.stride, g.pad_x, g.width);
        out[i] = sum / count;
    }
}

extern "C" __global__ void avg_pool_to_x(Geometry g, const float *delta, float *to_x) {
    int size = g.height * g.width, plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * size) {
        int p = i % size, y = p / g.width, at = p % g.width;
        wide first = (wide)(i / size) * plane;
        float sum = 0.0f;
        for (int k = 0; k < g.kernel_y * g.kernel_x; k++) {
            int oy = reader(y, k / g.kernel_x, g.pad_y, g.stride, 1, g.out_height);
            int ox = reader(at, k % g.kernel_x, g.pad_x, g.stride, 1, g.out_width);
            if (oy < 0 || ox < 0) continue;
            int count = inside(oy, g.kernel_y, g.stride, g.pad_y, g.height) * inside(ox, g.kernel_x, g.stride, g.pad_x, g.width);
            sum += delta[first + oy * g.out_width + ox] / count;
        }
        to_x[i] += sum;
    }
}

// A block an image and channel.
extern "C" __global__ void global_average(int plane, const float *x, float *out) {
    const float *from = x + (wide)blockIdx.x * plane;
    float sum = 0.0f;
    for (int p = threadIdx.x; p < plane; p += blockDim.x) sum += from[p];
    sum = block_sum(sum);
    if (!threadIdx.x) out[blockIdx.x] = sum / plane;
}

extern "C" __global__ void global_average_to_x(int count, int plane, const float *delta, float *to_x) {
    EACH(i, count) to_x[i] += delta[i / plane] / plane;
}

// ---- batch norm. `stats` are mean and inverse deviation of each channel, `affine` bits say what is learnt: 1 the gain, 2 the shift.

// A block a channel.
extern "C" __global__ void moments(int batch, int channels, int plane, float epsilon, const float *x, float *stats,
                                   float *seen) {
    int channel = blockIdx.x, count = batch * plane;
    float sum = 0.0f;
    for (int e = threadIdx.x; e < count; e += blockDim.x) sum += x[((wide)(e / plane) * channels + channel) * plane + e % plane];
    float mean = block_sum(sum) / count;
    sum = 0.0f;
    for (int e = threadIdx.x; e < count; e += blockDim.x) {
        float from = x[((wide)(e / plane) * channels + channel) * plane + e % plane] - mean;
        sum += from * from;
    }
    sum = block_sum(sum);
    if (threadIdx.x) return;
    stats[channel] = mean;
    stats[channels + channel] = rsqrtf(sum / count + epsilon);
    seen[channel] = mean;
    seen[channels + channel] = sum / max(count - 1, 1);
}

extern "C" __global__ void normalize(int count, int channels, int plane, const float *x, const float *stats, const float *gain,
                                     const float *shift, int affine, int relu, float *out) {
    EACH(i, count) {
        int c = i / plane % channels;
        float value = (x[i] - stats[c]) * stats[channels + c];
        if (affine & 1) value *= gain[c];
        if (affine & 2) value += shift[c];
        out[i] = relu ? rectified(value) : value;
    }
}

// The gradient of what a norm gave before its ReLU.
__device__ float before_relu(float delta, float normal, int c, const float *gain, const float *shift, int affine, int relu) {
    float value = normal;
    if (affine & 1) value *= gain[c];
    if (affine & 2) value += shift[c];
    return relu && !(value > 0.0f) ? 0.0f : delta;
}

struct Norm {
    int batch, channels, plane, affine, relu, of_batch;
};

// Sums of the gradient and of its product with the normal numbers, and by them the gradients of shift and gain. A block a channel.
extern "C" __global__ void norm_sums(Norm n, const float *x, const float *stats, const float *gain, const float *shift,
                                     const float *delta, float *sums, float *to_gain, float *to_shift) {
    int c = blockIdx.x, count = n.batch * n.plane;
    float sum = 0.0f, along = 0.0f, mean = stats[c], inverse = stats[n.channels + c];
    for (int e = threadIdx.x; e < count; e += blockDim.x) {
        wide at = ((wide)(e / n.plane) * n.channels + c) * n.plane + e % n.plane;
        float normal = (x[at] - mean) * inverse;
        float slope = before_relu(delta[at], normal, c, gain, shift, n.affine, n.relu);
        sum += slope;
        along += slope * normal;
    }
    sum = block_sum(sum);
    along = block_sum(along);
    if (threadIdx.x) return;
    sums[c] = sum;
    sums[n.channels + c] = along;
    if (n.affine & 1) to_gain[c] += along;
    if (n.affine & 2) to_shift[c] += sum;
}

extern "C" __global__ void norm_to_x(Norm n, const float *x, const float *stats, const float *gain, const float *shift,
                                     const float *delta, const float *sums, float *to_x) {
    int count = n.batch * n.channels * n.plane;
    float each = 1.0f / (n.batch * n.plane);
    EACH(i, count) {
        int c = i / n.plane % n.channels;
        float inverse = stats[n.channels + c], normal = (x[i] - stats[c]) * inverse;
        float slope = before_relu(delta[i], normal, c, gain, shift, n.affine, n.relu);
        if (n.of_batch) slope -= (sums[c] + normal * sums[n.channels + c]) * each;
        to_x[i] += slope * inverse * (n.affine & 1 ? gain[c] : 1.0f);
    }
}

// ---- what joins and cuts images

extern "C" __global__ void relu(int count, const float *x, float *out) {
    EACH(i, count) out[i] = rectified(x[i]);
}

extern "C" __global__ void relu_to_x(int count, const float *x, const float *delta, float *to_x) {
    EACH(i, count) to_x[i] += x[i] > 0.0f ? delta[i] : 0.0f;
}

extern "C" __global__ void add(int count, const float *a, const float *b, float *out) {
    EACH(i, count) out[i] = a[i] + b[i];
}

extern "C" __global__ void accumulate(int count, const float *from, float *to) {
    EACH(i, count) to[i] += from[i];
}

// Copies images of `size` numbers to a place within images of `whole` numbers, or adds what lies there.
extern "C" __global__ void place(int count, int size, int whole, int at, const float *x, float *out) {
    EACH(i, count) out[(wide)(i / size) * whole + at + i % size] = x[i];
}

extern "C" __global__ void place_to_x(int count, int size, int whole, int at, const float *delta, float *to_x) {
    EACH(i, count) to_x[i] += delta[(wide)(i / size) * whole + at + i % size];
}

extern "C" __global__ void scale_rows(int count, int size, const float *factors, const float *x, float *out) {
    EACH(i, count) out[i] = factors[i / size] * x[i];
}

extern "C" __global__ void scale_rows_to_x(int count, int size, const float *factors, const float *delta, float *to_x) {
    EACH(i, count) to_x[i] += factors[i / size] * delta[i];
}

// out[y][x] = image[y + from_y][x + from_x].
extern "C" __global__ void window(int count, int height, int width, int out_height, int out_width, int from_y, int from_x,
                                  const float *x, float *out) {
    int plane = out_height * out_width;
    EACH(i, count) {
        int p = i % plane, y = p / out_width + from_y, at = p % out_width + from_x;
        bool inside = y >= 0 && y < height && at >= 0 && at < width;
        out[i] = inside ? x[(wide)(i / plane) * height * width + y * width + at] : 0.0f;
    }
}

extern "C" __global__ void window_to_x(int count, int height, int width, int out_height, int out_width, int from_y, int from_x,
                                       const float *delta, float *to_x) {
    int size = height * width;
    EACH(i, count) {
        int p = i % size, y = p / width - from_y, at = p % width - from_x;
        if (y >= 0 && y < out_height && at >= 0 && at < out_width)
            to_x[i] += delta[(wide)(i / size) * out_height * out_width + y * out_width + at];
    }
}

// A loss of the caller's own, in one block, and its way back; `delta` is one number.
extern "C" __global__ void weigh(int count, const float *factors, const float *x, float *out) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += factors[i] * x[i];
    sum = block_sum(sum);
    if (!threadIdx.x) *out = sum;
}

extern "C" __global__ void weigh_to_x(int count, const float *factors, const float *delta, float *to_x) {
    EACH(i, count) to_x[i] += factors[i] * *delta;
}

// ---- optimizers: a row of blocks for each parameter.

struct Entry {
    const float *gradient;
    float *parameter, *first, *second;
    float rate, decay;
    wide count;
};

// Parts of the sums of squares of the gradients.
extern "C" __global__ void squares(const Entry *entries, double *parts) {
    Entry e = entries[blockIdx.y];
    double sum = 0.0;
    EACH(i, e.count) sum += (double)e.gradient[i] * e.gradient[i];
    for (int by = 16; by; by /= 2) sum += __shfl_xor_sync(~0u, sum, by);
    __shared__ double sums[32];
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x) return;
    sum = 0.0;
    for (int warp = 0; warp < (blockDim.x + 31) / 32; warp++) sum += sums[warp];
    parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

struct SgdStep {
    float scale, momentum;
    int nesterov;
};

extern "C" __global__ void sgd(const Entry *entries, SgdStep s) {
    Entry e = entries[blockIdx.y];
    EACH(i, e.count) {
        float g = e.gradient[i] * s.scale + e.decay * e.parameter[i];
        float m = e.first[i] = e.first[i] * s.momentum + g;
        e.parameter[i] -= e.rate * (s.nesterov ? g + s.momentum * m : m);
    }
}

struct AdamStep {
    float scale, beta_1, beta_2, correction_1, correction_2, epsilon;
    int coupled;
};

extern "C" __global__ void adamw(const Entry *entries, AdamStep s) {
    Entry e = entries[blockIdx.y];
    EACH(i, e.count) {
        float p = e.parameter[i], g = e.gradient[i] * s.scale + (s.coupled ? e.decay * p : 0.0f);
        float m = e.first[i] = e.first[i] * s.beta_1 + g * (1.0f - s.beta_1);
        float v = e.second[i] = e.second[i] * s.beta_2 + g * g * (1.0f - s.beta_2);
        float keep = s.coupled ? 1.0f : 1.0f - e.rate * e.decay;
        e.parameter[i] = p * keep - e.rate * s.correction_1 * m / (sqrtf(v * s.correction_2) + s.epsilon);
    }
}
