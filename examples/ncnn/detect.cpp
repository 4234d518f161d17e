// Detects objects in an image with a model that `casvit-mm export --format ncnn` wrote: RTMDet,
// RTMDet-Ins with its masks, RetinaNet. It does what casvit_mm.deploy does in NumPy.
//
//     detect model.ncnn.param photo.ppm [MASKS]
//
// prints a line for each object, `class score left top right bottom`, in pixels of the image, the
// best one first. With MASKS, a prefix, the mask of object N is written to MASKS-N.pgm.
#include <net.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <numeric>

#include "json.h"

struct Image {  // RGB, or grey with one channel
    int width = 0, height = 0;
    std::vector<unsigned char> pixels;
};

struct Object {
    float box[4];  // left, top, right, bottom in pixels of the input
    float score;
    int label;
    std::vector<float> kernel;  // of RTMDet-Ins
    float point[2];
    float stride;
};

static std::string read_text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + " cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

static Image read_ppm(const std::string& path) {
    FILE* file = std::fopen(path.c_str(), "rb");
    Image image;
    int largest = 0;
    bool good = file && std::fscanf(file, "P6 %d %d %d", &image.width, &image.height, &largest) == 3;
    if (good && largest == 255 && image.width > 0 && image.height > 0) {
        std::fgetc(file);
        image.pixels.resize((size_t)3 * image.width * image.height);
        good = std::fread(image.pixels.data(), 1, image.pixels.size(), file) == image.pixels.size();
    } else {
        good = false;
    }
    if (file) std::fclose(file);
    if (!good) throw std::runtime_error(path + " is no PPM (P6) of 8 bits");
    return image;
}

// Returns a map of one channel in another size, linearly, as OpenCV does.
static std::vector<float> enlarge(const float* map, int w, int h, int width, int height) {
    std::vector<float> result((size_t)width * height);
    for (int y = 0; y < height; ++y) {
        float v = std::max((y + 0.5f) * h / height - 0.5f, 0.f);
        int top = std::min((int)v, h - 1), bottom = std::min(top + 1, h - 1);
        for (int x = 0; x < width; ++x) {
            float u = std::max((x + 0.5f) * w / width - 0.5f, 0.f);
            int left = std::min((int)u, w - 1), right = std::min(left + 1, w - 1);
            float a = map[top * w + left], b = map[top * w + right];
            float c = map[bottom * w + left], d = map[bottom * w + right];
            float upper = a + (b - a) * (u - left), lower = c + (d - c) * (u - left);
            result[(size_t)y * width + x] = upper + (lower - upper) * (v - top);
        }
    }
    return result;
}

// Scales an image to lie within the input and fills up below or right; returns BGR from 0 to 255.
static ncnn::Mat fit(const Image& image, const Json& spec, int& width, int& height) {
    int rows = (int)spec["size"].items[0].number, columns = (int)spec["size"].items[1].number;
    double factor = std::min((double)rows / image.height, (double)columns / image.width);
    height = std::max(1, (int)(image.height * factor + 0.5));
    width = std::max(1, (int)(image.width * factor + 0.5));
    std::vector<float> mean = spec["mean"].floats(), plane((size_t)image.width * image.height);
    ncnn::Mat input(columns, rows, 3);
    bool padded = !spec["steps"].items.empty() && spec["steps"].items.back()["op"].text == "pad";
    for (int channel = 0; channel < 3; ++channel) {
        for (size_t i = 0; i < plane.size(); ++i) plane[i] = image.pixels[3 * i + 2 - channel];
        std::vector<float> scaled = enlarge(plane.data(), image.width, image.height, width, height);
        float fill = std::nearbyint(mean[spec["rgb"].number ? 2 - channel : channel]);
        if (padded) fill = (float)spec["steps"].items.back()["colour"].items[channel].number;
        for (int y = 0; y < rows; ++y)
            for (int x = 0; x < columns; ++x)
                input.channel(channel).row(y)[x] =
                    y < height && x < width ? std::nearbyint(scaled[(size_t)y * width + x]) : fill;
    }
    return input;
}

static float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

// A prior and what the network says of it to a box.
static void decode(const Json& coder, const float* prior, const float* codes, Object& object) {
    if (coder["kind"].text == "distances") {
        float x = (prior[0] + prior[2]) / 2, y = (prior[1] + prior[3]) / 2;
        float box[4] = {x - codes[0], y - codes[1], x + codes[2], y + codes[3]};
        std::copy(box, box + 4, object.box);
    } else if (coder["kind"].text == "deltas") {
        std::vector<float> means = coder["means"].floats(), stds = coder["stds"].floats();
        float d[4], most = std::fabs(std::log(16.f / 1000));
        for (int i = 0; i < 4; ++i) d[i] = codes[i] * stds[i] + means[i];
        float w = prior[2] - prior[0], h = prior[3] - prior[1];
        float x = (prior[0] + prior[2]) / 2 + w * d[0], y = (prior[1] + prior[3]) / 2 + h * d[1];
        w *= std::exp(std::clamp(d[2], -most, most)) / 2;
        h *= std::exp(std::clamp(d[3], -most, most)) / 2;
        float box[4] = {x - w, y - h, x + w, y + h};
        std::copy(box, box + 4, object.box);
    } else {
        throw std::runtime_error("this program knows no boxes of kind " + coder["kind"].text);
    }
}

// Appends the objects of a level that score enough, at most nms_pre of them.
static void read_level(ncnn::Extractor& network, const Json& spec, const Json& level,
                       int width, int height, std::vector<Object>& objects) {
    const Json& how = spec["outside"];
    int stride = (int)level["stride"].number, classes = (int)spec["classes"].items.size();
    const std::vector<Json>& anchors = level["anchors"].items;
    int number = std::max((int)anchors.size(), 1);
    bool with_masks = !how["mask_widths"].items.empty();
    std::string end = std::to_string(stride);
    ncnn::Mat logits, codes, kernels;
    if (network.extract(("logits" + end).c_str(), logits) != 0 ||
        network.extract(("codes" + end).c_str(), codes) != 0 ||
        (with_masks && network.extract(("kernels" + end).c_str(), kernels) != 0))
        throw std::runtime_error("the network has no maps of stride " + end);
    std::vector<Object> found;
    for (int place = 0; place < logits.w * logits.h * number; ++place) {
        int position = place / number, anchor = place % number;
        int x = position % logits.w, y = position / logits.w;
        for (int label = 0; label < classes; ++label) {
            float score = sigmoid(logits.channel(anchor * classes + label).row(y)[x]);
            if (!(score > how["score_thr"].number)) continue;
            Object object;
            object.score = score;
            object.label = label;
            object.stride = (float)stride;
            float shift[2] = {(float)x, (float)y}, prior[4], code[4];
            for (int i = 0; i < 4; ++i) {
                float corner = shift[i % 2] + (anchors.empty() ? (float)how["offset"].number : 0);
                prior[i] = corner * stride + (anchors.empty() ? 0 : anchors[anchor].floats()[i]);
                code[i] = codes.channel(anchor * 4 + i).row(y)[x];
            }
            object.point[0] = prior[0];
            object.point[1] = prior[1];
            decode(how["coder"], prior, code, object);
            if (how["coder"]["clip"].number)
                for (int i = 0; i < 4; ++i)
                    object.box[i] = std::clamp(object.box[i], 0.f, (float)(i % 2 ? height : width));
            for (int i = 0; with_masks && i < kernels.c; ++i)
                object.kernel.push_back(kernels.channel(i).row(y)[x]);
            found.push_back(object);
        }
    }
    auto better = [](const Object& a, const Object& b) { return a.score > b.score; };
    std::stable_sort(found.begin(), found.end(), better);
    int most = (int)how["nms_pre"].number;
    if (most >= 0 && (int)found.size() > most) found.resize(most);
    objects.insert(objects.end(), found.begin(), found.end());
}

static float overlap(const Object& a, const Object& b) {
    auto area = [](const float* box) {
        return std::max(box[2] - box[0], 0.f) * std::max(box[3] - box[1], 0.f);
    };
    float shared[4] = {std::max(a.box[0], b.box[0]), std::max(a.box[1], b.box[1]),
                       std::min(a.box[2], b.box[2]), std::min(a.box[3], b.box[3])};
    return area(shared) / (area(a.box) + area(b.box) - area(shared));
}

// Non-maximum suppression per class.
static std::vector<Object> suppress(std::vector<Object> objects, const Json& how) {
    auto better = [](const Object& a, const Object& b) { return a.score > b.score; };
    std::stable_sort(objects.begin(), objects.end(), better);
    std::vector<Object> kept;
    float least = (float)how["min_side"].number;
    for (const Object& one : objects) {
        if ((int)kept.size() == (int)how["max_per_img"].number) break;
        if (least >= 0 && !(one.box[2] - one.box[0] > least && one.box[3] - one.box[1] > least))
            continue;
        bool covered = std::any_of(kept.begin(), kept.end(), [&](const Object& other) {
            return other.label == one.label && overlap(other, one) > how["iou_thr"].number;
        });
        if (!covered) kept.push_back(one);
    }
    return kept;
}

// The last layers of RTMDet-Ins, which it predicts for each object: logits at the mask's stride.
static std::vector<float> draw(const Object& object, const ncnn::Mat& features, const Json& spec) {
    const Json& how = spec["outside"];
    std::vector<float> widths = how["mask_widths"].floats();
    int area = features.w * features.h, inputs = features.c + 2;
    float mask_stride = (float)spec["mask_stride"].number, offset = (float)how["offset"].number;
    std::vector<std::vector<float>> x(inputs, std::vector<float>(area));
    for (int i = 0; i < area; ++i) {
        float centre[2] = {(i % features.w + offset) * mask_stride,
                           (i / features.w + offset) * mask_stride};
        for (int axis = 0; axis < 2; ++axis)
            x[axis][i] = (object.point[axis] - centre[axis]) / (object.stride * 8);
        for (int c = 0; c < features.c; ++c)
            x[c + 2][i] = features.channel(c).row(i / features.w)[i % features.w];
    }
    size_t weights = 0, biases = 0;
    for (size_t layer = 0, in = inputs; layer < widths.size(); in = (size_t)widths[layer++])
        biases += in * (size_t)widths[layer];
    for (size_t layer = 0; layer < widths.size(); ++layer) {
        std::vector<std::vector<float>> y((size_t)widths[layer], std::vector<float>(area));
        for (size_t out = 0; out < y.size(); ++out, ++biases) {
            std::fill(y[out].begin(), y[out].end(), object.kernel.at(biases));
            for (size_t in = 0; in < x.size(); ++in, ++weights)
                for (int i = 0; i < area; ++i) y[out][i] += object.kernel[weights] * x[in][i];
            if (layer + 1 < widths.size())
                for (float& value : y[out]) value = std::max(value, 0.f);
        }
        x = std::move(y);
    }
    return x[0];
}

static void write_mask(const std::string& path, const std::vector<float>& logits,
                       const ncnn::Mat& features, const Json& spec, const Image& image,
                       int width, int height) {
    int stride = (int)spec["mask_stride"].number;
    int w = features.w * stride, h = features.h * stride;
    std::vector<float> input = enlarge(logits.data(), features.w, features.h, w, h);
    int columns = (int)std::ceil(w * (1 / ((double)width / image.width)));
    int rows = (int)std::ceil(h * (1 / ((double)height / image.height)));
    std::vector<float> whole = enlarge(input.data(), w, h, columns, rows);
    double threshold = spec["mask_thr"].number, least = std::log(threshold / (1 - threshold));
    std::ofstream file(path, std::ios::binary);
    file << "P5\n" << image.width << " " << image.height << "\n255\n";
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x)
            file.put(whole[(size_t)y * columns + x] > least ? (char)255 : 0);
    if (!file) throw std::runtime_error(path + " cannot be written");
}

static void detect(const std::string& layers, const std::string& photo, const char* masks) {
    const std::string ending = ".param";
    if (layers.size() < ending.size() || layers.substr(layers.size() - ending.size()) != ending)
        throw std::runtime_error(layers + " does not end in .ncnn.param");
    std::string stem = layers.substr(0, layers.size() - ending.size());
    std::string text = read_text(stem + ".json");
    Json content = JsonReader(text).read();
    const Json& spec = content["casvit_mm"];
    if (spec["task"].text != "detection" || spec["preprocess"].text != "inside")
        throw std::runtime_error("this program is for detectors with --preprocess inside");
    ncnn::Net net;
    // In half precision where the processor can, unless the file is to be exact.
    bool halves = spec["precision"].text == "fp16";
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = halves;
    if (net.load_param(layers.c_str()) != 0 || net.load_model((stem + ".bin").c_str()) != 0)
        throw std::runtime_error(layers + " or its .bin cannot be loaded");
    for (const char* name : net.output_names())
        if (std::string(name).rfind("factors", 0) == 0)
            throw std::runtime_error("this program knows no head with factors of the scores");
    Image image = read_ppm(photo);
    int width, height;
    ncnn::Extractor network = net.create_extractor();
    network.input("image", fit(image, spec, width, height));
    std::vector<Object> objects;
    for (const Json& level : spec["outside"]["levels"].items)
        read_level(network, spec, level, (int)spec["size"].items[1].number,
                   (int)spec["size"].items[0].number, objects);
    objects = suppress(objects, spec["outside"]);
    ncnn::Mat features;
    if (masks && network.extract("features", features) != 0)
        throw std::runtime_error("the network draws no masks");
    float factors[2] = {(float)((double)width / image.width), (float)((double)height / image.height)};
    int number = 0;
    for (const Object& one : objects) {
        if (!(one.score > spec["score_thr"].number)) continue;
        std::printf("%s %.6f", spec["classes"].items[one.label].text.c_str(), one.score);
        for (int i = 0; i < 4; ++i) {
            float limit = (float)(i % 2 ? image.height : image.width);
            std::printf(" %.3f", std::clamp(one.box[i] / factors[i % 2], 0.f, limit));
        }
        std::printf("\n");
        if (masks)
            write_mask(std::string(masks) + "-" + std::to_string(number) + ".pgm",
                       draw(one, features, spec), features, spec, image, width, height);
        ++number;
    }
}

int main(int count, char** arguments) {
    if (count != 3 && count != 4) {
        std::fprintf(stderr, "usage: detect model.ncnn.param photo.ppm [MASKS]\n");
        return 2;
    }
    try {
        detect(arguments[1], arguments[2], count == 4 ? arguments[3] : nullptr);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
    return 0;
}
