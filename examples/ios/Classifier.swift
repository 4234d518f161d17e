// A classifier of `casvit-mm export CKPT --format coreml` in an app for iOS 17 or macOS 14.
//
// NOT EXECUTED: written against the documented interface of Core ML, and never compiled.
// If something in it is wrong, an issue with the message is welcome.

import CoreML
import Vision

final class Classifier {
    enum Problem: Error { case notOurs, noClassifier, noScores }

    private let model: MLModel
    private let names: [String]

    /// `package` is the .mlpackage; an app that ships it compiled by Xcode leaves out the first line.
    init(package: URL) async throws {
        let compiled = try await MLModel.compileModel(at: package)
        let configuration = MLModelConfiguration()
        configuration.computeUnits = .all  // the Neural Engine where it has the operators
        model = try MLModel(contentsOf: compiled, configuration: configuration)
        let values = model.modelDescription.metadata[.creatorDefinedKey] as? [String: String]
        guard let text = values?["casvit_mm"]?.data(using: .utf8),
              let description = try JSONSerialization.jsonObject(with: text) as? [String: Any],
              let classes = description["classes"] as? [String] else { throw Problem.notOurs }
        guard description["task"] as? String == "classification" else { throw Problem.noClassifier }
        names = classes
    }

    /// Returns the best class and its probability. Core ML scales the picture to the input; the steps
    /// by which the training's test pipeline resizes are in the description, under "steps".
    func classify(_ picture: CGImage) throws -> (name: String, score: Float) {
        let constraint = model.modelDescription.inputDescriptionsByName["image"]!.imageConstraint!
        let value = try MLFeatureValue(cgImage: picture, constraint: constraint, options: nil)
        let input = try MLDictionaryFeatureProvider(dictionary: ["image": value])
        let output = try model.prediction(from: input)
        guard let scores = output.featureValue(for: "scores")?.multiArrayValue else {
            throw Problem.noScores
        }
        let best = (0..<scores.count).max { scores[$0].floatValue < scores[$1].floatValue }!
        return (names[best], scores[best].floatValue)
    }
}
