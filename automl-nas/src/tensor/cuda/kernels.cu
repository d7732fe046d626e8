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
    if (stride != 1) {
        if (at < 0 || at % stride) return -1;
        at /= stride;
    }
    return at >= 0 && at < outputs ? at : -1;
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
#pragma unroll 8
        for (int part = 0; part < parts; part++) sum += from[(wide)part * count + i];
        to[i] += sum;
    }
}

// ---- depthwise convolution by square kernels, tile by tile: what a tile of outputs reads is laid between zeros first. Block (plane,
// tile); tiles are 1 << shift wide and 32 high. Turned round, with `x` to say where a ReLU let the gradient through, it is the way back
// of a convolution of stride 1, and adds.

extern __shared__ float tile[];

struct Tiles {
    int height, width, out_height, out_width, stride, pad_y, pad_x, dilation, channels, shift;
};

// Where a tile begins, and how large what it reads is.
struct Place {
    int y, x, high, wide_;
    __device__ Place(const Tiles &t, int number, int kernel) {
        int across = (t.out_width + (1 << t.shift) - 1) >> t.shift;
        y = number / across * 32;
        x = (number % across) << t.shift;
        int reach = (kernel - 1) * t.dilation + 1;
        high = (min(32, t.out_height - y) - 1) * t.stride + reach;
        wide_ = ((1 << t.shift) - 1) * t.stride + reach;
    }
};

__device__ void lay(const Tiles &t, const Place &place, const float *from, int relu) {
    for (int i = threadIdx.x; i < place.high * place.wide_; i += blockDim.x) {
        int y = place.y * t.stride + i / place.wide_ - t.pad_y, x = place.x * t.stride + i % place.wide_ - t.pad_x;
        float value = y >= 0 && y < t.height && x >= 0 && x < t.width ? from[y * t.width + x] : 0.0f;
        tile[i] = relu ? rectified(value) : value;
    }
}

template <int K>
__device__ void depthwise(const Tiles &t, const float *from, const float *weight, float *to, int relu, int turned, const float *x) {
    Place place(t, blockIdx.y, K);
    lay(t, place, from + (wide)blockIdx.x * t.height * t.width, relu && !turned);
    float w[K * K];
    weight += blockIdx.x % t.channels * K * K;
    for (int tap = 0; tap < K * K; tap++) w[tap] = weight[turned ? K * K - 1 - tap : tap];
    __syncthreads();
    wide first = (wide)blockIdx.x * t.out_height * t.out_width;
    for (int i = threadIdx.x; i < 32 << t.shift; i += blockDim.x) {
        int y = i >> t.shift, at = i & ((1 << t.shift) - 1);
        if (place.y + y >= t.out_height || place.x + at >= t.out_width) continue;
        wide out = first + (place.y + y) * t.out_width + place.x + at;
        if (turned && relu && !(x[out] > 0.0f)) continue;
        const float *corner = tile + y * t.stride * place.wide_ + at * t.stride;
        float sum = 0.0f;
#pragma unroll
        for (int ky = 0; ky < K; ky++)
#pragma unroll
            for (int kx = 0; kx < K; kx++) sum += w[ky * K + kx] * corner[(ky * place.wide_ + kx) * t.dilation];
        if (turned) to[out] += sum;
        else to[out] = sum;
    }
}

// Block (channel, part) takes every so-many-th image, and leaves parts x channels x taps sums.
template <int K>
__device__ void depthwise_to_weight(const Tiles &t, int batch, const float *from, const float *delta, float *parts, int relu) {
    int tiles = (t.out_height + 31) / 32 * ((t.out_width + (1 << t.shift) - 1) >> t.shift);
    float sums[K * K] = {};
    for (int image = blockIdx.y; image < batch; image += gridDim.y) {
        wide number = (wide)image * t.channels + blockIdx.x;
        for (int of = 0; of < tiles; of++) {
            Place place(t, of, K);
            __syncthreads();
            lay(t, place, from + number * t.height * t.width, relu);
            __syncthreads();
            for (int i = threadIdx.x; i < 32 << t.shift; i += blockDim.x) {
                int y = i >> t.shift, at = i & ((1 << t.shift) - 1);
                if (place.y + y >= t.out_height || place.x + at >= t.out_width) continue;
                float slope = delta[(number * t.out_height + place.y + y) * t.out_width + place.x + at];
                const float *corner = tile + y * t.stride * place.wide_ + at * t.stride;
#pragma unroll
                for (int ky = 0; ky < K; ky++)
#pragma unroll
                    for (int kx = 0; kx < K; kx++) sums[ky * K + kx] += slope * corner[(ky * place.wide_ + kx) * t.dilation];
            }
        }
    }
    __shared__ float warps[32][K * K];
#pragma unroll
    for (int tap = 0; tap < K * K; tap++) {
        float sum = sums[tap];
        for (int by = 16; by; by /= 2) sum += __shfl_xor_sync(~0u, sum, by);
        if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32][tap] = sum;
    }
    __syncthreads();
    for (int tap = threadIdx.x; tap < K * K; tap += blockDim.x) {
        float sum = 0.0f;
        for (int warp = 0; warp < blockDim.x / 32; warp++) sum += warps[warp][tap];
        parts[((wide)blockIdx.y * t.channels + blockIdx.x) * K * K + tap] = sum;
    }
}

#define DEPTHWISE(K)                                                                                                                     \
    extern "C" __global__ void depthwise_##K(Tiles t, const float *from, const float *weight, float *to, int relu, int turned,           \
                                             const float *x) {                                                                           \
        depthwise<K>(t, from, weight, to, relu, turned, x);                                                                              \
    }                                                                                                                                    \
    extern "C" __global__ void depthwise_to_weight_##K(Tiles t, int batch, const float *from, const float *delta, float *parts,          \
                                                       int relu) {                                                                       \
        depthwise_to_weight<K>(t, batch, from, delta, parts, relu);                                                                      \
    }
DEPTHWISE(3)
DEPTHWISE(5)
DEPTHWISE(7)

// The same by any kernel.
extern "C" __global__ void depthwise_any(Geometry g, const float *x, const float *weight, float *out, int relu) {
    int plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * plane) {
        int p = i % plane, image = i / plane, oy = p / g.out_width, ox = p % g.out_width;
        const float *from = x + (wide)image * g.height * g.width, *w = weight + image % g.channels * g.kernel_y * g.kernel_x;
        float sum = 0.0f;
        for (int ky = 0; ky < g.kernel_y; ky++) {
            int y = oy * g.stride + ky * g.dilation - g.pad_y;
            if (y < 0 || y >= g.height) continue;
            for (int kx = 0; kx < g.kernel_x; kx++) {
                int at = ox * g.stride + kx * g.dilation - g.pad_x;
                if (at < 0 || at >= g.width) continue;
                float value = from[y * g.width + at];
                sum += w[ky * g.kernel_x + kx] * (relu ? rectified(value) : value);
            }
        }
        out[i] = sum;
    }
}

extern "C" __global__ void depthwise_to_x_any(Geometry g, const float *delta, const float *weight, const float *x, float *to_x, int relu) {
    int size = g.height * g.width, plane = g.out_height * g.out_width;
    EACH(i, g.batch * g.channels * size) {
        if (relu && !(x[i] > 0.0f)) continue;
        int p = i % size, image = i / size, y = p / g.width, at = p % g.width;
        const float *from = delta + (wide)image * plane, *w = weight + image % g.channels * g.kernel_y * g.kernel_x;
        float sum = 0.0f;
        for (int ky = 0; ky < g.kernel_y; ky++) {
            int oy = reader(y, ky, g.pad_y, g.stride, g.dilation, g.out_height);
            if (oy < 0) continue;
            for (int kx = 0; kx < g.kernel_x; kx++) {
                int ox = reader(at, kx, g.pad_x, g.stride, g.dilation, g.out_width);
                if (ox >= 0) sum += w[ky * g.kernel_x + kx] * from[oy * g.out_width + ox];
            }
        }
        to_x[i] += sum;
    }
}

extern "C" __global__ void depthwise_to_weight_any(Geometry g, const float *x, const float *delta, float *parts, int relu) {
    int plane = g.out_height * g.out_width, channel = blockIdx.x, count = g.batch * plane, taps = g.kernel_y * g.kernel_x;
    float *to = parts + ((wide)blockIdx.y * g.channels + channel) * taps;
    for (int tap = 0; tap < taps; tap++) {
        float sum = 0.0f;
        for (int e = blockIdx.y * blockDim.x + threadIdx.x; e < count; e += gridDim.y * blockDim.x) {
            int p = e % plane, image = e / plane * g.channels + channel, oy = p / g.out_width, ox = p % g.out_width;
            int y = oy * g.stride + tap / g.kernel_x * g.dilation - g.pad_y, at = ox * g.stride + tap % g.kernel_x * g.dilation - g.pad_x;
            if (y < 0 || y >= g.height || at < 0 || at >= g.width) continue;
            float value = x[(wide)image * g.height * g.width + y * g.width + at];
            sum += delta[(wide)image * plane + p] * (relu ? rectified(value) : value);
        }
        sum = block_sum(sum);
        if (!threadIdx.x) to[tap] = sum;
    }
}

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

// Block (channel, part) takes every so-many-th image: how many numbers, their mean, the squares around it, parts x 3 x channels.
extern "C" __global__ void moments(int batch, int channels, int plane, const float *x, float *parts) {
    int channel = blockIdx.x, count = (batch - (int)blockIdx.y + (int)gridDim.y - 1) / (int)gridDim.y * plane;
    float sum = 0.0f;
    for (int image = blockIdx.y; image < batch; image += gridDim.y) {
        const float *from = x + ((wide)image * channels + channel) * plane;
        for (int p = threadIdx.x; p < plane; p += blockDim.x) sum += from[p];
    }
    float mean = block_sum(sum) / count;
    sum = 0.0f;
    for (int image = blockIdx.y; image < batch; image += gridDim.y) {
        const float *from = x + ((wide)image * channels + channel) * plane;
        for (int p = threadIdx.x; p < plane; p += blockDim.x) sum += (from[p] - mean) * (from[p] - mean);
    }
    sum = block_sum(sum);
    if (threadIdx.x) return;
    float *to = parts + (wide)blockIdx.y * 3 * channels + channel;
    to[0] = count;
    to[channels] = mean;
    to[2 * channels] = sum;
}

// Joins the moments of the parts (Chan et al. 1979).
extern "C" __global__ void moments_of_parts(int count, int channels, int parts, float epsilon, const float *from, float *stats,
                                            float *seen) {
    EACH(c, channels) {
        float mean = 0.0f, squares = 0.0f;
        for (int part = 0; part < parts; part++) mean += from[part * 3 * channels + c] / count * from[(part * 3 + 1) * channels + c];
        for (int part = 0; part < parts; part++) {
            float away = from[(part * 3 + 1) * channels + c] - mean;
            squares += from[(part * 3 + 2) * channels + c] + from[part * 3 * channels + c] * away * away;
        }
        stats[c] = seen[c] = mean;
        stats[channels + c] = rsqrtf(squares / count + epsilon);
        seen[channels + c] = squares / max(count - 1, 1);
    }
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

// Sums of the gradient and of its product with the normal numbers. Block (channel, part) takes every so-many-th image: parts x 2 x
// channels.
extern "C" __global__ void norm_sums(Norm n, const float *x, const float *stats, const float *gain, const float *shift,
                                     const float *delta, float *parts) {
    int c = blockIdx.x;
    float sum = 0.0f, along = 0.0f, mean = stats[c], inverse = stats[n.channels + c];
    for (int image = blockIdx.y; image < n.batch; image += gridDim.y) {
        wide first = ((wide)image * n.channels + c) * n.plane;
        for (int p = threadIdx.x; p < n.plane; p += blockDim.x) {
            float normal = (x[first + p] - mean) * inverse;
            float slope = before_relu(delta[first + p], normal, c, gain, shift, n.affine, n.relu);
            sum += slope;
            along += slope * normal;
        }
    }
    sum = block_sum(sum);
    along = block_sum(along);
    if (threadIdx.x) return;
    parts[blockIdx.y * 2 * n.channels + c] = sum;
    parts[(blockIdx.y * 2 + 1) * n.channels + c] = along;
}

// Joins the sums of the parts, and adds them to the gradients of shift and gain.
extern "C" __global__ void norm_sums_of_parts(Norm n, int parts, const float *from, float *sums, float *to_gain, float *to_shift) {
    EACH(c, n.channels) {
        float sum = 0.0f, along = 0.0f;
        for (int part = 0; part < parts; part++) {
            sum += from[part * 2 * n.channels + c];
            along += from[(part * 2 + 1) * n.channels + c];
        }
        sums[c] = sum;
        sums[n.channels + c] = along;
        if (n.affine & 1) to_gain[c] += along;
        if (n.affine & 2) to_shift[c] += sum;
    }
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
