// Blocks of evaluation points j. For each slot the slopes dh/ds(i, j) are evaluated in the order of
// the slot's chunks, with zeros up to the longest one, so that the sums over all groups are one
// batched product: partial[chunk][j, c] = slopes[j, chunk] alpha[chunk, c]. A pass adds the chunks
// of each index up to the gradients u[index][j, c], and their outer products are one product with
// the long side (j, c) summed. Padding costs up to a half of the first product.
#include <algorithm>
#include <vector>

#include "../agop.h"
#include "lookups.h"
#include "operations.h"

namespace grokrfm::cuda {

namespace {

// One slot, with the dual coefficients in the order of its chunks: (chunks, longest, c).
template <class T>
struct Slot {
    const std::int32_t *order, *chunks;  // chunks: (first, last, index)
    std::ptrdiff_t count, longest;
    T* coefficients;
    T* slopes;                   // block x chunks x longest
    T* partial;                  // chunks x block x c
    const std::int32_t* begins;  // d + 2: where the chunks of an index begin

    std::ptrdiff_t width() const { return count * longest; }
    // The training point at a place of the padded order, or -1.
    GROKRFM_HOST_DEVICE std::int32_t point(std::ptrdiff_t place) const {
        const std::int32_t* chunk = chunks + place / longest * 3;
        const std::ptrdiff_t at = chunk[0] + place % longest;
        return at < chunk[1] ? order[at] : -1;
    }
};

template <class T>
void gather_coefficients(Device& device, const Slot<T> slot, Matrix<const T> alpha) {
    const std::ptrdiff_t classes = alpha.columns;
    for_rows(
        device, slot.width(), classes, [=] GROKRFM_BODY(std::ptrdiff_t place, std::ptrdiff_t c) {
            const std::int32_t i = slot.point(place);
            slot.coefficients[place * classes + c] = i < 0 ? T(0) : alpha.data[i * classes + c];
        });
}

// begins[v] = the first chunk whose index is v or more.
template <class T>
void find_begins(Device& device, const Slot<T> slot, std::ptrdiff_t bins, std::int32_t* begins) {
    for_each(device, bins + 1, [=] GROKRFM_BODY(std::ptrdiff_t v) {
        std::ptrdiff_t low = 0, high = slot.count;
        while (low < high) {
            const std::ptrdiff_t middle = (low + high) / 2;
            if (slot.chunks[middle * 3 + 2] < v)
                low = middle + 1;
            else
                high = middle;
        }
        begins[v] = static_cast<std::int32_t>(low);
    });
}

// slopes[j - first, place]: dh/ds, or dh/dq_z, of the training point at that place.
template <bool in_norm, class T, class Kernel>
void fill_slopes(Device& device, Kernel kernel, const Slot<T> slot, Matrix<const T> m,
                 ActiveIndices train, const T* q, std::ptrdiff_t first, std::ptrdiff_t last,
                 T* slopes) {
    const std::ptrdiff_t width = slot.width();
    for_rows(
        device, last - first, width, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t place) {
            const std::ptrdiff_t j = first + row;
            const std::int32_t i = slot.point(place);
            T value = 0;
            if (i >= 0) {
                const auto slope = kernel.slopes(inner_product(m, train, j, train, i), q[i], q[j]);
                value = in_norm ? slope.q_z : slope.s;
            }
            slopes[row * width + place] = value;
        });
}

// terms[j, c] = -1/2 sum over the chunks of a slot: sum_i alpha_ic dh/dq_z for minus_half kernels.
template <class T>
void halve_chunks(Device& device, const Slot<T> slot, std::ptrdiff_t size, T* terms) {
    for_each(device, size, [=] GROKRFM_BODY(std::ptrdiff_t jc) {
        T sum = 0;
        for (std::ptrdiff_t chunk = 0; chunk < slot.count; ++chunk)
            sum += slot.partial[chunk * size + jc];
        terms[jc] = T(-0.5) * sum;
    });
}

// gradients[v, j, c] += the chunks of index v
template <class T>
void add_chunks(Device& device, const Slot<T> slot, std::ptrdiff_t d, std::ptrdiff_t rows,
                std::ptrdiff_t classes, bool first_slot, T* gradients) {
    const std::ptrdiff_t size = rows * classes;
    for_rows(device, d * rows, classes, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t c) {
        const std::ptrdiff_t v = row / rows, jc = row % rows * classes + c;
        T sum = first_slot ? T(0) : gradients[v * size + jc];
        for (std::ptrdiff_t chunk = slot.begins[v]; chunk < slot.begins[v + 1]; ++chunk)
            sum += slot.partial[chunk * size + jc];
        gradients[v * size + jc] = sum;
    });
}

// gradients[v, j, c] += 2 terms[j, c] for every slot of x_j that names v. A thread has one (j, c):
// no two of them write to the same place.
template <class T>
void add_norm_terms(Device& device, ActiveIndices train, std::ptrdiff_t first, std::ptrdiff_t rows,
                    std::ptrdiff_t classes, const T* terms, T* gradients) {
    const std::ptrdiff_t size = rows * classes;
    for_rows(device, rows, classes, [=] GROKRFM_BODY(std::ptrdiff_t row, std::ptrdiff_t c) {
        const std::ptrdiff_t jc = row * classes + c;
        for (std::ptrdiff_t t = 0; t < train.columns; ++t) {
            const std::int32_t v = train.data[(first + row) * train.columns + t];
            if (v >= 0) gradients[v * size + jc] += 2 * terms[jc];
        }
    });
}

template <class T>
void fill_ones(Device& device, std::ptrdiff_t count, T* ones) {
    for_each(device, count, [=] GROKRFM_BODY(std::ptrdiff_t i) { ones[i] = 1; });
}

template <class T>
void symmetrise(Device& device, const T* from, std::ptrdiff_t d, T* to) {
    for_rows(device, d, d, [=] GROKRFM_BODY(std::ptrdiff_t i, std::ptrdiff_t j) {
        to[i * d + j] = T(0.5) * (from[i * d + j] + from[j * d + i]);
    });
}

}  // namespace

template <class T>
void agop(Device& device, Arena& arena, const KernelChoice& kernel, Matrix<const T> feature_matrix,
          ActiveIndices train, const std::vector<SlotChunks>& slot_chunks,
          Matrix<const T> dual_coefficients, bool centred, Matrix<T> out) {
    const std::ptrdiff_t n = train.rows, d = feature_matrix.rows, c = dual_coefficients.columns;
    // Bytes of an evaluation point: its slopes, partial sums and gradients. A block takes 512 MB.
    std::ptrdiff_t numbers = d * c + c;
    for (const SlotChunks& slot : slot_chunks) numbers += slot.chunks.rows * (2 * slot.longest + c);
    const std::ptrdiff_t block = std::clamp<std::ptrdiff_t>(
        (512 << 20) / (numbers * static_cast<std::ptrdiff_t>(sizeof(T))), 1, n);

    std::vector<Slot<T>> slots;
    std::vector<std::int32_t*> begins;
    std::ptrdiff_t widest = 0;
    for (const SlotChunks& given : slot_chunks) {
        const std::ptrdiff_t count = given.chunks.rows, width = count * given.longest;
        widest = std::max(widest, width);
        begins.push_back(arena.take<std::int32_t>(d + 2));
        slots.push_back({given.order, given.chunks.data, count, given.longest,
                         arena.take<T>(width * c), nullptr, nullptr, begins.back()});
    }
    T* slopes = arena.take<T>(block * widest);
    for (Slot<T>& slot : slots) {
        slot.slopes = slopes;
        slot.partial = arena.take<T>(slot.count * block * c);
    }
    T* q = arena.take<T>(n);
    T* gradients = arena.take<T>(d * block * c);
    T* terms = arena.take<T>(block * c);
    T* ones = arena.take<T>(block);
    T* totals = arena.take<T>(d * c);
    T* outer = arena.take<T>(d * d);
    T* product = arena.take<T>(d * d);
    if (arena.counting()) return;

    fill_norms(device, feature_matrix, train, q);
    for (std::size_t t = 0; t < slots.size(); ++t) {
        gather_coefficients(device, slots[t], dual_coefficients);
        find_begins(device, slots[t], d + 1, begins[t]);
    }
    fill_ones(device, block, ones);
    device.clear(totals, static_cast<std::size_t>(d * c) * sizeof(T));
    device.clear(outer, static_cast<std::size_t>(d * d) * sizeof(T));
    visit_kernel<T>(kernel, [&](auto functor) {
        constexpr SlopeInNorm in_norm = decltype(functor)::slope_in_norm;
        for (std::ptrdiff_t first = 0; first < n; first += block) {
            const std::ptrdiff_t last = std::min(first + block, n), rows = last - first;
            const std::ptrdiff_t size = rows * c;
            for (const Slot<T>& slot : slots) {
                const bool first_slot = &slot == slots.data();
                if constexpr (in_norm == SlopeInNorm::general)
                    if (first_slot) {
                        fill_slopes<true>(device, functor, slot, feature_matrix, train, q, first,
                                          last, slot.slopes);
                        device.multiply<T>(rows, c, slot.width(), 1,
                                           {'N', slot.slopes, slot.width()},
                                           {'N', slot.coefficients, c}, 0, {terms, c});
                    }
                fill_slopes<false>(device, functor, slot, feature_matrix, train, q, first, last,
                                   slot.slopes);
                device.multiply<T>(rows, c, slot.longest, 1,
                                   {'N', slot.slopes, slot.width(), slot.longest},
                                   {'N', slot.coefficients, c, slot.longest * c}, 0,
                                   {slot.partial, c, size}, slot.count);
                if (in_norm == SlopeInNorm::minus_half && first_slot)
                    halve_chunks(device, slot, size, terms);
                add_chunks(device, slot, d, rows, c, first_slot, gradients);
            }
            if (in_norm != SlopeInNorm::none)
                add_norm_terms(device, train, first, rows, c, terms, gradients);
            if (centred)  // totals[v, c] += sum_j gradients[v, j, c]
                device.multiply<T>(1, c, rows, 1, {'N', ones, rows}, {'N', gradients, c, size}, 1,
                                   {totals, c, c}, d);
            device.multiply<T>(d, d, size, 1, {'N', gradients, size}, {'T', gradients, size}, 1,
                               {outer, d});
        }
    });
    if (centred)
        device.multiply<T>(d, d, c, T(-1) / static_cast<T>(n), {'N', totals, c}, {'T', totals, c},
                           1, {outer, d});
    device.multiply<T>(d, d, d, 1, {'N', feature_matrix.data, d}, {'N', outer, d}, 0, {product, d});
    device.multiply<T>(d, d, d, T(1) / static_cast<T>(n), {'N', product, d},
                       {'N', feature_matrix.data, d}, 0, {outer, d});
    symmetrise(device, outer, d, out.data);
}

template void agop(Device&, Arena&, const KernelChoice&, Matrix<const float>, ActiveIndices,
                   const std::vector<SlotChunks>&, Matrix<const float>, bool, Matrix<float>);
template void agop(Device&, Arena&, const KernelChoice&, Matrix<const double>, ActiveIndices,
                   const std::vector<SlotChunks>&, Matrix<const double>, bool, Matrix<double>);

}  // namespace grokrfm::cuda
